"""Writes what PyTorch computes for networks that no library has, SMP's U-Net for sizes that do not halve, and what
SMP's settings change.

    python tools/network_references.py conformance/models

Needs torch, torchvision, segmentation_models_pytorch, numpy and safetensors. The tutorials' networks are stated here
as they are commonly written; names of their parameters bind nobody, order and shapes do. Sums run in float64, weights
and pictures are formula.py's.
"""

import json
import pathlib
import sys

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import torchvision
from safetensors.numpy import save_file
from torch import nn

from formula import image, weight


def double_conv(before, after):
    layers = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class UnetPlain(nn.Module):
    """Double convolutions, 64 to 1024 channels; bilinear or transposed on the way up."""

    channels = [64, 128, 256, 512, 1024]

    def __init__(self, classes, transposed):
        super().__init__()
        self.encoder = nn.ModuleList(map(double_conv, [3, *self.channels[:-1]], self.channels))
        self.decoder = nn.ModuleList()
        for below, skip in zip(self.channels[:0:-1], self.channels[-2::-1]):
            up = nn.ConvTranspose2d(below, below // 2, 2, stride=2) if transposed else nn.Identity()
            joined = skip + (below // 2 if transposed else below)
            self.decoder.append(nn.ModuleDict({"up": up, "convs": double_conv(joined, skip)}))
        self.transposed = transposed
        self.head = nn.Conv2d(self.channels[0], classes, 1)

    def forward(self, x):
        skips = []
        for level, convs in enumerate(self.encoder):
            if level:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = convs(x)
        for block in self.decoder:
            skip = skips.pop()
            height, width = skip.shape[2:]
            if self.transposed:
                x = block["up"](x)
                x = F.pad(x, [0, width - x.shape[3], 0, height - x.shape[2]])
            else:
                x = F.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)
            x = block["convs"](torch.cat([skip, x], 1))
        return self.head(x)


class SegNetSeparable(nn.Module):
    """Batch norm on the picture; each convolution one a channel and one a pixel; maxima go back where they were."""

    stages = [(64, 2), (128, 2), (256, 3), (512, 3)]

    def __init__(self, classes):
        super().__init__()

        def layer(before, after):
            depthwise = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
            return nn.Sequential(depthwise, nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

        self.norm = nn.BatchNorm2d(3)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = 3
        for channels, layers in self.stages:
            sides = [before] + [channels] * layers
            self.down.append(nn.Sequential(*map(layer, sides, sides[1:])))
            before = channels
        after = [channels for channels, _ in self.stages[-2::-1]] + [classes]
        for (channels, layers), fewer in zip(self.stages[::-1], after):
            sides = [channels] * layers + [fewer]
            self.up.append(nn.Sequential(*map(layer, sides, sides[1:])))

    def forward(self, x):
        x, seen = self.norm(x), []
        for convs in self.down:
            x = convs(x)
            size = x.shape
            x, indices = F.max_pool2d(x, 2, return_indices=True)
            seen.append((indices, size))
        for convs in self.up:
            indices, size = seen.pop()
            x = convs(F.max_unpool2d(x, indices, 2, output_size=size))
        return x


class Fcn8s(nn.Module):
    """ResNet-34; the scores of three stages, each enlarged by a transposed convolution and added to the next."""

    def __init__(self, classes):
        super().__init__()
        trunk = torchvision.models.resnet34(weights=None)
        *stem, self.layer3, self.layer4 = list(trunk.children())[:-2]
        self.to_stride8 = nn.Sequential(*stem)
        self.score32, self.score16, self.score8 = (nn.Conv2d(c, classes, 1) for c in (512, 256, 128))

        def up(factor):
            return nn.ConvTranspose2d(classes, classes, 2 * factor, factor, factor // 2, bias=False)

        self.up32, self.up16, self.up8 = up(2), up(2), up(8)

    def forward(self, x):
        def cut(y, like):
            return y[:, :, : like.shape[2], : like.shape[3]]

        eighth = self.to_stride8(x)
        sixteenth = self.layer3(eighth)
        y = self.score32(self.layer4(sixteenth))
        for up, score, stage in ((self.up32, self.score16, sixteenth), (self.up16, self.score8, eighth)):
            seen = score(stage)
            y = cut(up(y), seen) + seen
        return cut(self.up8(y), x)


# In the order in which the networks here have their parameters.
ORDER = {Fcn8s: ["to_stride8", "layer3", "layer4", "score32", "score16", "up32", "score8", "up16", "up8"]}

CASES = [
    ("tutorial-unet_plain", lambda: UnetPlain(3, False), 3, (1, 3, 48, 64)),
    ("tutorial-unet_plain-odd", lambda: UnetPlain(3, False), 3, (2, 3, 35, 50)),
    ("tutorial-unet_plain_transposed", lambda: UnetPlain(3, True), 3, (1, 3, 48, 64)),
    ("tutorial-unet_plain_transposed-odd", lambda: UnetPlain(3, True), 3, (2, 3, 35, 50)),
    ("tutorial-segnet_separable-odd", lambda: SegNetSeparable(3), 3, (2, 3, 51, 70)),
    ("tutorial-fcn8s_resnet34", lambda: Fcn8s(5), 5, (1, 3, 64, 96)),
    ("tutorial-fcn8s_resnet34-odd", lambda: Fcn8s(5), 5, (1, 3, 75, 101)),
    ("smp-unet-resnet18-odd", lambda: smp.Unet("resnet18", encoder_weights=None, classes=3), 3, (2, 3, 75, 101)),
    (
        "smp-unet-efficientnet-b0-odd",
        lambda: smp.Unet("efficientnet-b0", encoder_weights=None, classes=3),
        3,
        (2, 3, 75, 101),
    ),
]

# SMP's settings: architecture, encoder, keyword arguments, side of the input.
SETTINGS = [
    (
        "unet",
        "resnet18",
        {
            "decoder_use_norm": {"type": "instancenorm", "affine": True},
            "decoder_interpolation": "bilinear",
            "activation": "softmax2d",
            "aux_params": {"classes": 3, "pooling": "max", "dropout": 0.5, "activation": "sigmoid"},
        },
        64,
    ),
    (
        "unetplusplus",
        "vgg11",
        {
            "encoder_depth": 4,
            "decoder_channels": [64, 32, 16, 16],
            "decoder_attention_type": "scse",
            "activation": "logsoftmax",
        },
        32,
    ),
    (
        "manet",
        "mit_b0",
        {"decoder_pab_channels": 24, "decoder_interpolation": "bilinear", "decoder_use_norm": "identity"},
        64,
    ),
    ("linknet", "resnet18", {"encoder_depth": 4, "decoder_use_norm": "identity", "activation": "tanh"}, 32),
    (
        "fpn",
        "vgg11",
        {
            "encoder_depth": 3,
            "decoder_merge_policy": "cat",
            "decoder_pyramid_channels": 64,
            "decoder_segmentation_channels": 32,
            "decoder_interpolation": "bilinear",
            "upsampling": 1,
        },
        32,
    ),
    ("pspnet", "mobilenet_v2", {"encoder_depth": 4, "psp_out_channels": 64, "upsampling": 16}, 64),
    (
        "pan",
        "resnet18",
        {"encoder_depth": 4, "decoder_channels": 16, "decoder_interpolation": "nearest", "upsampling": 4},
        128,
    ),
    (
        "deeplabv3",
        "timm-skresnet18",
        {
            "encoder_output_stride": 16,
            "decoder_channels": 32,
            "decoder_atrous_rates": [2, 4, 6],
            "decoder_aspp_separable": True,
            "activation": "sigmoid",
        },
        64,
    ),
    (
        "deeplabv3plus",
        "mobileone_s4",
        {"encoder_output_stride": 8, "decoder_channels": 32, "decoder_aspp_separable": False},
        32,
    ),
    ("upernet", "dpn68", {"encoder_depth": 4, "decoder_channels": 32, "decoder_use_norm": "identity"}, 64),
    ("segformer", "timm-tf_efficientnet_lite0", {"encoder_depth": 4, "decoder_segmentation_channels": 32}, 32),
]

ARCHITECTURES = {
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "manet": smp.MAnet,
    "linknet": smp.Linknet,
    "fpn": smp.FPN,
    "pspnet": smp.PSPNet,
    "pan": smp.PAN,
    "deeplabv3": smp.DeepLabV3,
    "deeplabv3plus": smp.DeepLabV3Plus,
    "upernet": smp.UPerNet,
    "segformer": smp.Segformer,
}


def with_settings():
    """SETTINGS as CASES, and the keyword arguments by name."""
    cases, kwargs = [], {}
    for arch, encoder, given, side in SETTINGS:
        name = f"smp-{arch}-{encoder}-settings"
        kwargs[name] = given

        def build(arch=arch, encoder=encoder, given=given):
            return ARCHITECTURES[arch](encoder, encoder_weights=None, classes=2, **given)

        cases.append((name, build, 2, (1, 3, side, side)))
    return cases, kwargs


def main():
    folder = pathlib.Path(sys.argv[1])
    more, kwargs = with_settings()
    for name, build, classes, shape in CASES + more:
        model = build()
        transposed = {n + ".weight" for n, m in model.named_modules() if isinstance(m, nn.ConvTranspose2d)}
        state = {
            key: torch.from_numpy(weight(key, tuple(value.shape), key in transposed)).reshape(value.shape)
            for key, value in model.state_dict().items()
        }
        model.load_state_dict(state)
        parts = ORDER.get(type(model), [""])
        entries = {
            key: list(value.shape)
            for part in parts
            for key, value in state.items()
            if not part or key.startswith(part + ".")
        }
        assert len(entries) == len(state)
        x = torch.from_numpy(image(name, shape)).double()
        with torch.no_grad():
            results = model.double().eval()(x)
        results = dict(zip(("out", "label"), results if isinstance(results, tuple) else (results,)))
        assert results["out"].shape == (shape[0], classes, *shape[2:])
        library, arch, *encoder = name.removesuffix("-odd").removesuffix("-settings").split("-", 2)
        spec = {"name": name, "library": library, "arch": arch, "classes": classes, "input": shape}
        if encoder:
            spec["encoder"] = encoder[0]
        if name in kwargs:
            spec["kwargs"] = kwargs[name]
        metadata = {
            "spec": json.dumps(spec),
            "state_dict": json.dumps(entries),
            "parameters": str(sum(p.numel() for p in model.parameters())),
        }
        values = {key: value.numpy().astype(np.float32) for key, value in results.items()}
        save_file(values, folder / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    main()
