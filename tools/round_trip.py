#!/usr/bin/env python3
"""Weights from Segmenta to Python and back: learned here, read by SMP with strict=True, learned on there, read here.

    python tools/round_trip.py --ours target/release/segmenta
    python tools/round_trip.py --ours target/release/segmenta --only unet/resnet18 fpn/mobilenet_v2

For each network: two epochs in Segmenta on pictures drawn by this script; `model.safetensors` into the same network of
segmentation_models_pytorch, whose logits for a picture must be Segmenta's, also by `from_pretrained` of the folder that
`segmenta models save` writes; a few steps of Adam in PyTorch; its
state dict as `.pth` and as safetensors into Segmenta, whose logits must be PyTorch's. Ends with exit code 1 where they
differ by more than 1e-3 of the largest.

Needs torch, segmentation_models_pytorch, safetensors, numpy and pillow.
"""
import argparse, pathlib, subprocess, sys, tempfile

import numpy as np
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
from PIL import Image, ImageDraw

NETWORKS = [
    "unet/resnet18",
    "unetplusplus/mobilenet_v2",
    "linknet/timm-efficientnet-b0",
    "fpn/resnext50_32x4d",
    "pspnet/densenet121",
    "deeplabv3plus/se_resnet50",
    "manet/resnet18",
    "segformer/mit_b0",
]
SIZE, CLASSES, BOUND = 64, 3, 1e-3


def draw(folder):
    """Discs and boxes on noise: two classes and a background."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("background\ndisc\nbox\n")
    for i in range(12):
        picture = Image.fromarray(rng.integers(0, 80, (SIZE, SIZE, 3), np.uint8))
        mask = Image.new("L", (SIZE, SIZE))
        for id, shape in ((1, "ellipse"), (2, "rectangle")):
            x, y = rng.integers(4, SIZE - 28, 2)
            box = [int(x), int(y), int(x) + 22, int(y) + 22]
            getattr(ImageDraw.Draw(picture), shape)(box, fill=(220, 90 * id, 60))
            getattr(ImageDraw.Draw(mask), shape)(box, fill=id)
        picture.save(folder / "images" / f"{i}.png")
        mask.save(folder / "masks" / f"{i}.png")


def segmenta(args, *words):
    subprocess.run([args.ours, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def ours(args, weights, x, folder, *words):
    np.save(folder / "x.npy", x)
    segmenta(args, "forward", "--quiet", "--weights", weights, "--input", folder / "x.npy", "--output", folder / "y.npy", *words)
    return np.load(folder / "y.npy")


def theirs(net, x):
    net.eval()
    with torch.no_grad():
        return net(torch.from_numpy(x)).numpy()


def compare(network, what, a, b):
    error = float(np.abs(a - b).max() / np.abs(b).max())
    print(f"{network:32} {what:42} {error:.1e}", flush=True)
    return error <= BOUND


def round_trip(args, network, data, folder):
    arch, encoder = network.split("/")
    recipe = folder / "recipe.toml"
    recipe.write_text(f'[model]\narch = "{arch}"\nencoder = "{encoder}"\nencoder_weights = "none"\n[input]\nsize = [{SIZE}, {SIZE}]\n')
    run = folder / "run"
    segmenta(args, "train", recipe, "--data", data, "-o", run, "--set", "train.epochs=2", "--set", "train.batch=4", "--quiet")

    folder_of_ours = folder / "folder"
    segmenta(args, "models", "save", run / "model.safetensors", "-o", folder_of_ours, "--quiet")
    net = smp.create_model(arch, encoder_name=encoder, encoder_weights=None, classes=CLASSES)
    net.load_state_dict(safetensors.torch.load_file(run / "model.safetensors"), strict=True)
    x = np.random.default_rng(1).standard_normal((2, 3, SIZE, SIZE), np.float32)
    fine = compare(network, "learned here, read there", ours(args, run / "model.safetensors", x, folder), theirs(net, x))

    saved = smp.from_pretrained(folder_of_ours)
    fine &= compare(network, "learned here, from_pretrained there", theirs(saved, x), theirs(net, x))

    net.train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for step in range(3):
        target = torch.randint(0, CLASSES, (2, SIZE, SIZE), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.from_numpy(x)), target).backward()
        optimizer.step()
    expected = theirs(net, x)
    # A state dict does not say its network.
    words = ["--model", arch, "--encoder", encoder, "--classes", CLASSES]
    torch.save(net.state_dict(), folder / "back.pth")
    state = {name: value.contiguous() for name, value in net.state_dict().items()}
    safetensors.torch.save_file(state, folder / "back.safetensors")
    for file in ("back.pth", "back.safetensors"):
        found = ours(args, folder / file, x, folder, *words)
        fine &= compare(network, f"learned on there, read here from {file.split('.')[1]}", found, expected)
    return fine


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ours", default="target/release/segmenta")
    p.add_argument("--only", nargs="+", default=NETWORKS, help="architecture/encoder")
    args = p.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(root)
        draw(root / "data")
        fine = True
        for network in args.only:
            folder = root / network.replace("/", "-")
            folder.mkdir()
            fine &= round_trip(args, network, root / "data", folder)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
