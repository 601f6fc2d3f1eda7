"""Writes what transformers computes for small networks of queries, and the gradients of one of them.

    python tools/query_references.py conformance/huggingface [NAME ...]

`models/NAME.safetensors` has the logits of classes and masks and the class scores of the family's post-processing;
`steps/NAME.json` the gradients of Σ p·logits, where p = `unit` of `direction/RESULT` − ½: of each parameter the norm, and
the product with `unit` of `probe/ENTRY` − ½. Sums run in float64, weights and pictures are formula.py's. Needs torch,
transformers 5, numpy and safetensors.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from safetensors.torch import load_file

from formula import centred, unit, weight

RESULTS = ("class_queries_logits", "masks_queries_logits")
PICTURES = 12

SWIN = dict(
    model_type="swin", depths=[1, 1, 1, 1], embed_dim=16, num_heads=[1, 2, 2, 4], window_size=3, mlp_ratio=2.0,
    drop_path_rate=0.0, out_features=["stage1", "stage2", "stage3", "stage4"],
)  # fmt: skip
RESNET = dict(
    model_type="resnet", depths=[1, 1, 1, 1], embedding_size=8, hidden_sizes=[8, 16, 24, 32], layer_type="basic",
    out_features=["stage1", "stage2", "stage3", "stage4"],
)  # fmt: skip


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def labels(count):
    return {str(i): f"class {i}" for i in range(count)}


MASK2FORMER = dict(
    architectures=["Mask2FormerForUniversalSegmentation"], model_type="mask2former", id2label=labels(4), feature_size=32,
    mask_feature_size=20, hidden_dim=32, encoder_feedforward_dim=40, dim_feedforward=48, encoder_layers=1, decoder_layers=4,
    num_attention_heads=4, num_queries=6, dropout=0.0,
)  # fmt: skip
MASKFORMER = dict(
    architectures=["MaskFormerForInstanceSegmentation"], model_type="maskformer", id2label=labels(4), fpn_feature_size=32,
    mask_feature_size=20,
)  # fmt: skip
DETR = dict(
    model_type="detr", d_model=24, decoder_attention_heads=3, decoder_ffn_dim=40, decoder_layers=2, num_queries=6,
    dropout=0.0,
)  # fmt: skip

# What OneFormer is told: "the task is semantic" in the tokens of CLIP's vocabulary, filled up with zeros.
TASK = [49406, 518, 10549, 533, 29119, 1550, 49407] + [0] * 70

# name, config.json, input, whether gradients are wanted
CASES = [
    ("mask2former-swin", dict(MASK2FORMER, backbone_config=SWIN), [1, 3, 45, 62], True),
    (
        "mask2former-prenorm-resnet",
        dict(
            MASK2FORMER, backbone_config=RESNET, pre_norm=True, hidden_dim=24, common_stride=2, activation_function="gelu",
            decoder_layers=3,
        ),
        [2, 3, 32, 64], False,
    ),
    (
        "mask2former-three-maps",
        dict(
            MASK2FORMER, backbone_config=dict(RESNET, out_features=["stage2", "stage3", "stage4"]), common_stride=8,
            feature_strides=[8, 16, 32], enforce_input_projection=True, decoder_layers=2,
        ),
        [1, 3, 64, 80], False,
    ),
    (
        "maskformer-swin",
        dict(MASKFORMER, backbone_config=dict(SWIN, out_features=["stage4"]), decoder_config=DETR),
        [2, 3, 45, 62], False,
    ),
    (
        "maskformer-resnet",
        dict(
            MASKFORMER, backbone_config=RESNET,
            decoder_config=dict(DETR, d_model=32, decoder_attention_heads=4, activation_function="gelu", auxiliary_loss=True),
        ),
        [1, 3, 33, 64], False,
    ),
    (
        "oneformer-swin",
        dict(
            architectures=["OneFormerForUniversalSegmentation"], model_type="oneformer", id2label=labels(4),
            backbone_config=SWIN, conv_dim=32, mask_dim=32, hidden_dim=32, encoder_feedforward_dim=40, dim_feedforward=48,
            encoder_layers=1, decoder_layers=4, query_dec_layers=2, num_attention_heads=4, num_queries=6, dropout=0.0,
            is_training=False,
        ),
        [1, 3, 45, 62], False,
    ),
]  # fmt: skip


def build(config):
    """The network, every entry of its state dict a function of its name but for what its code fills in."""
    kind = getattr(transformers, config["architectures"][0])
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "config.json").write_text(json.dumps(config))
        made = kind.config_class.from_pretrained(folder)
    model = kind(made).double().eval()
    state = model.state_dict()
    for name, value in state.items():
        if not name.endswith(("relative_position_index", "empty_weight")):
            filled = np.asarray(weight(name, tuple(value.shape)))
            state[name] = torch.from_numpy(filled.reshape(tuple(value.shape))).to(value.dtype)
    model.load_state_dict(state)
    return model


def former(model):
    """The names that the library writes, which are version 4's, where they are not the network's own, and those."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        written = load_file(pathlib.Path(folder, "model.safetensors"))
    key = lambda tensor: (tuple(tensor.shape), tensor.double().numpy().tobytes())
    own = {}
    for name, value in model.state_dict().items():
        own.setdefault(key(value), []).append(name)
    names = {}
    for name, value in written.items():
        alike = own[key(value)]
        if name not in alike:
            (new,) = alike
            names[name] = [new]
    return names


def run(model, picture):
    tasks = {}
    if "OneFormer" in type(model).__name__:
        tasks["task_inputs"] = torch.tensor(TASK).double().repeat(len(picture), 1)
    return model(pixel_values=picture, **tasks)


def margin(model, picture):
    """How near to zero mask logits come that hide pixels from queries, of their root mean square."""
    found = [np.inf]
    resize = torch.nn.functional.interpolate

    def note(x, **how):
        y = resize(x, **how)
        # Of all that is resized only masks have a channel for each query.
        if x.shape[1] == getattr(model.config, "num_queries", None):
            found.append(float(y.abs().min() / y.pow(2).mean().sqrt()))
        return y

    torch.nn.functional.interpolate = note
    try:
        with torch.no_grad():
            run(model, picture)
    finally:
        torch.nn.functional.interpolate = resize
    return min(found)


def semantic(config, result, target):
    # OneFormer's does what MaskFormer's does, and wants a file of names.
    family = "Mask2Former" if config["model_type"] == "mask2former" else "MaskFormer"
    processor = getattr(transformers, f"{family}ImageProcessor")()
    sizes = [target] * len(result.class_queries_logits)
    scores = processor.post_process_semantic_segmentation(result, target_sizes=sizes, return_segmentation_scores=True)
    return scores[0]["segmentation_scores"]


def case(name, config, shape, with_gradients, folder):
    model = build(config)
    # Of some pictures the one whose decisions no rounding turns.
    decides = config["model_type"] != "maskformer"
    pictures = [f"{name}/image#{i}" for i in range(PICTURES if decides else 1)]
    tensor = lambda image: torch.from_numpy(centred(image, shape)).double()
    distance, image = max((margin(model, tensor(image)), image) for image in pictures)
    result = run(model, tensor(image))
    tensors = {key: result[key] for key in RESULTS}
    target = (10, 13)
    if shape[0] == 1:
        tensors["semantic"] = semantic(config, result, target)
    state = {key: list(value.shape) for key, value in model.state_dict().items()}
    names = former(model)
    spec = {
        "name": name, "library": "transformers", "class": config["architectures"][0], "classes": len(config["id2label"]),
        "input": shape, "image": image, "weights_by": "v5", "target": target,
    }  # fmt: skip
    if np.isfinite(distance):
        spec["mask_margin"] = distance
    metadata = {
        "spec": compact(spec),
        "config": compact(config),
        "state_dict": compact(state),
        "transposed": "[]",
    }
    if names:
        metadata["checkpoint_to_state_dict"] = compact(names)
    arrays = {key: np.ascontiguousarray(value.detach().numpy().astype(np.float32)) for key, value in tensors.items()}
    save_file(arrays, folder / "models" / f"{name}.safetensors", metadata=metadata)
    print(name, {key: value.shape for key, value in arrays.items()}, "margin", distance, "entries", len(state))
    if not with_gradients:
        return
    loss = 0
    for key in RESULTS:
        direction = torch.from_numpy(unit(f"direction/{key}", tuple(result[key].shape))).double() - 0.5
        loss = loss + (result[key] * direction).sum()
    loss.backward()
    gradients = {}
    for key, parameter in model.named_parameters():
        gradient = parameter.grad
        if gradient is None:
            gradients[key] = None
            continue
        probe = torch.from_numpy(unit(f"probe/{key}", tuple(gradient.shape))).double() - 0.5
        gradients[key] = [float(f"{x:.9g}") for x in (gradient.norm(), (gradient * probe).sum())]
    record = {"spec": spec, "config": config, "loss": loss.item(), "gradients": gradients}
    path = folder / "steps" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(compact(record) + "\n")


def main():
    folder, *names = sys.argv[1:]
    for name, *row in CASES:
        if name in names or not names:
            case(name, *row, pathlib.Path(folder))


if __name__ == "__main__":
    main()
