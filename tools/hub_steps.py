"""Writes what PyTorch computes in a training step of networks of transformers: the loss that the library itself gives
for labels, and every parameter's gradient.

    python tools/hub_steps.py conformance/models

Needs torch, transformers and numpy. Sums run in float64; weights, pictures and labels are formula.py's, the widths small.
Nothing is dropped: what is dropped is drawn otherwise here and there. The auxiliary head counts half, as in the other
files of steps.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers

from formula import image, unit, weight

SMALL = {"depths": [1, 2, 1, 1], "drop_path_rate": 0.0, "hidden_act": "gelu", "hidden_sizes": [8, 16, 24, 32]}
IGNORED = 255

CASES = [
    (
        "hub-segformer-train",
        "SegformerForSemanticSegmentation",
        SMALL
        | {
            "classifier_dropout_prob": 0.0,
            "decoder_hidden_size": 16,
            "num_attention_heads": [1, 2, 3, 4],
            "sr_ratios": [8, 4, 2, 1],
        },
        # No side is a multiple of four: the logits are enlarged by no whole number.
        (2, 3, 70, 90),
    ),
    (
        "hub-upernet-convnext-train",
        "UperNetForSemanticSegmentation",
        {
            "auxiliary_channels": 8,
            "auxiliary_in_channels": 24,
            "auxiliary_loss_weight": 0.5,
            "backbone_config": SMALL
            | {
                "layer_scale_init_value": 1.0,
                "model_type": "convnext",
                "out_features": ["stage1", "stage2", "stage3", "stage4"],
            },
            "hidden_size": 16,
            # A mean of the whole picture gives a norm a value a picture, whose gradient is rounding alone.
            "pool_scales": [2, 3],
        },
        (2, 3, 96, 128),
    ),
]


def build(name, fields, classes):
    fields = dict(fields)
    kind = name.removesuffix("ForSemanticSegmentation") + "Config"
    if "backbone_config" in fields:
        fields["backbone_config"] = transformers.AutoConfig.for_model(**fields["backbone_config"])
    return getattr(transformers, name)(getattr(transformers, kind)(num_labels=classes, **fields))


def main():
    folder, classes = pathlib.Path(sys.argv[1]), 3
    for name, class_name, fields, shape in CASES:
        model = build(class_name, fields, classes)
        state = {
            key: torch.from_numpy(weight(key, tuple(value.shape))).reshape(value.shape)
            for key, value in model.state_dict().items()
        }
        model.load_state_dict(state)
        model.double().train()
        batch, _, height, width = shape
        labels = np.floor(unit(f"{name}/target", (batch, height, width)) * (classes + 0.5)).astype(np.int64)
        labels[labels >= classes] = IGNORED
        pixels = torch.from_numpy(image(name, shape)).double()
        loss = model(pixel_values=pixels, labels=torch.from_numpy(labels)).loss
        loss.backward()
        gradients = {}
        for key, parameter in model.named_parameters():
            if parameter.grad is None:
                gradients[key] = None
                continue
            gradient = parameter.grad.flatten()
            probe = torch.from_numpy(unit(f"probe/{key}", (gradient.numel(),))).double() - 0.5
            gradients[key] = [gradient.norm().item(), (gradient * probe).sum().item()]
        statistics = {
            key: value.double().norm().item()
            for key, value in model.state_dict().items()
            if key.endswith(("running_mean", "running_var"))
        }
        spec = {"name": name, "library": "transformers", "arch": class_name, "classes": classes, "input": shape}
        spec |= {"aux": "auxiliary_channels" in fields, "config": fields}
        case = {"spec": spec, "loss": loss.item(), "gradients": gradients, "running_statistics": statistics}
        (folder / f"{name}.step.json").write_text(json.dumps(case, indent=1) + "\n")
        print(f"{name} · loss {loss.item():.5f} · {len(gradients)} gradients")


if __name__ == "__main__":
    main()
