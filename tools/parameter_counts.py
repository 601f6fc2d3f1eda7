"""Makes conformance/parameters.csv: how many values each of SMP's networks trains, and a digest of its state dict.

    python tools/parameter_counts.py conformance/parameters.csv

needs torch and segmentation_models_pytorch 0.6. A row an architecture, an encoder, their count, and 64-bit FNV-1a over
the lines "NAME SHAPE" of the state dict in its order, as SMP builds them by default for 3 channels and 2 classes; a pair
that SMP refuses, or cannot run, has no row. Nothing is allocated where PyTorch's meta device will do.
"""

import csv
import sys
import warnings

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.encoders import get_encoder_names

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

TRANSFORMERS = [f"tu-vit_{size}_patch16_224" for size in ("tiny", "small", "base")]

# Encoders that SMP takes from timm, each on U-Net; the first of each family on every architecture. Those that SMP gives no
# map at stride 2, U-Net++ and LinkNet join with maps of no channels; here they refuse, as all do that dilate.
TIMM = {
    "tu-convnext_": ["atto", "femto", "pico", "nano", "tiny", "small", "base", "large", "xlarge"],
    "tu-swin_": [
        f"{size}_patch4_window{window}"
        for window, sizes in (("7_224", ("tiny", "small", "base", "large")), ("12_384", ("base", "large")))
        for size in sizes
    ],
    "tu-resnet": ["26d", "18d", "34d", "50d", "101d", "152d", "200d", "rs50", "rs101", "rs152", "rs200"],
    "tu-regnet": [
        f"{kind}_{flops}"
        for kind in "yx"
        for flops in "002 004 006 008 016 032 040 064 080 120 160 320".split()
    ],
    "tu-hrnet_w": ["18", "30", "32", "40", "44", "48", "64"],
    "tu-": ["efficientnetv2_rw_s", "tf_efficientnetv2_b0", "tf_efficientnetv2_s", "tf_efficientnetv2_m", "tf_efficientnetv2_l"],
    "tu-mobilenetv4_conv_": ["small", "medium", "large"],
}
DILATE = {"pan", "deeplabv3", "deeplabv3plus"}
JOIN_ALL = {"linknet", "unetplusplus"}


def timm_pairs():
    for begin, ends in TIMM.items():
        for at, end in enumerate(ends):
            refused = DILATE | (JOIN_ALL if begin in ("tu-convnext_", "tu-swin_") else set())
            side = 384 if end.endswith("384") else 224 if "swin" in begin else 256
            for name, model in ARCHITECTURES.items():
                if name == "unet" or (at == 0 and name not in refused):
                    yield name, model, begin + end, side


def build(model, encoder):
    """The network; without numbers, unless its encoder reads some while it is built."""
    try:
        with torch.device("meta"):
            return model(encoder, encoder_weights=None, classes=2), "meta"
    except RuntimeError:
        return model(encoder, encoder_weights=None, classes=2), "cpu"


def fnv1a(text):
    state = 0xCBF29CE484222325
    for byte in text.encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    return f"{state:016x}"


def row(model, encoder, side):
    net, device = build(model, encoder)
    with torch.no_grad(), torch.device(device):
        net.eval()(torch.zeros(1, 3, side, side))
    entries = (f"{name} {list(value.shape)}\n" for name, value in net.state_dict().items())
    return sum(p.numel() for p in net.parameters() if p.requires_grad), fnv1a("".join(entries))


def main():
    warnings.simplefilter("ignore")
    pairs = [(name, model, encoder, 256) for name, model in ARCHITECTURES.items() for encoder in get_encoder_names()]
    pairs += [("dpt", smp.DPT, encoder, 224) for encoder in TRANSFORMERS]
    pairs += timm_pairs()
    with open(sys.argv[1], "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["architecture", "encoder", "parameters", "state_dict"])
        for name, model, encoder, side in pairs:
            try:
                rows.writerow([name, encoder, *row(model, encoder, side)])
            except (ValueError, RuntimeError, KeyError) as refused:
                print(f"{name} {encoder}: {type(refused).__name__}: {str(refused).splitlines()[0]}", file=sys.stderr)
            file.flush()


if __name__ == "__main__":
    main()
