"""Trains the demonstration network on generated road scenes and writes it as a model file.

    cargo run --release -p segmenta-data --example export_scenes -- SCENES/train --count 500 --seed 100000
    cargo run --release -p segmenta-data --example export_scenes -- SCENES/val --count 100 --seed 0
    python tools/train_demo.py SCENES assets/demo.safetensors

Needs torch, torchvision, safetensors and Pillow. The network is the zoo's `deeplabv3_mobilenet_v2` at width 0.35,
trained from scratch, with the same names in its state dict.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.models import mobilenet_v2

CLASSES = ["sky", "building", "tree", "ground", "road", "vehicle", "person"]
WIDTH = 0.35


class DeepLab(nn.Module):
    """DeepLabV3 on MobileNetV2 at output stride 8, as TensorFlow's zoo has it: no atrous branches."""

    def __init__(self, classes, head=256):
        super().__init__()
        self.features = mobilenet_v2(width_mult=WIDTH).features[:18]
        reached, dilation = 2, 1
        for block in self.features[1:]:
            depthwise = block.conv[-3][0]
            stride, used = depthwise.stride[0], dilation
            if reached * stride > 8:
                dilation, stride = dilation * stride, 1
            reached *= stride
            depthwise.stride, depthwise.dilation, depthwise.padding = (stride,) * 2, (used,) * 2, (used,) * 2
        channels = self.features[-1].out_channels
        self.image_pooling = nn.Conv2d(channels, head, 1)
        self.aspp0 = nn.Conv2d(channels, head, 1)
        self.concat_projection = nn.Conv2d(2 * head, head, 1)
        self.logits = nn.Conv2d(head, classes, 1)

    def forward(self, x):
        size = x.shape[2:]
        x = self.features(x)
        mean = F.relu(self.image_pooling(F.adaptive_avg_pool2d(x, 1))).expand(-1, -1, *x.shape[2:])
        x = F.relu(self.concat_projection(torch.cat([mean, F.relu(self.aspp0(x))], 1)))
        return F.interpolate(self.logits(x), size, mode="bilinear", align_corners=True)


def load(folder):
    """Pictures as N×3×H×W and masks as N×H×W, both bytes, in the order of their seeds."""
    read = lambda part: np.stack([np.asarray(Image.open(p)) for p in sorted((folder / part).iterdir())])
    return torch.from_numpy(read("pictures")).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(read("masks"))


def normalise(pictures):
    return (pictures.float() / 255 - 0.5) / 0.5


def augmented(pictures, masks, scaled):
    """The batch, mirrored or not, in varied light, at its own size or a random one down to half of it."""
    x = normalise(pictures) * (0.8 + 0.4 * torch.rand(len(pictures), 1, 1, 1)) + 0.06 * torch.randn(len(pictures), 3, 1, 1)
    if torch.rand(()) < 0.5:
        x, masks = x.flip(3), masks.flip(2)
    if scaled:
        scale = 0.5 + 0.5 * float(torch.rand(()))
        height, width = (round(side * scale) for side in x.shape[2:])
        x = F.interpolate(x, (height, width), mode="bilinear", antialias=True)
        masks = F.interpolate(masks[:, None].float(), (height, width), mode="nearest-exact")[:, 0]
    return x.clamp(-1, 1), masks.long()


@torch.no_grad()
def measure(net, pictures, masks):
    """Pixel accuracy, IoU of each class and their mean, from one confusion matrix over all pixels."""
    net.eval()
    matrix = torch.zeros(len(CLASSES) ** 2, dtype=torch.long)
    for picture, mask in zip(pictures.split(8), masks.split(8)):
        predicted = net(normalise(picture)).argmax(1)
        matrix += torch.bincount((mask.long() * len(CLASSES) + predicted).flatten(), minlength=len(matrix))
    matrix = matrix.view(len(CLASSES), -1).double()
    hit = matrix.diag()
    iou = hit / (matrix.sum(0) + matrix.sum(1) - hit)
    return float(hit.sum() / matrix.sum()), iou.tolist(), float(iou.mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("out", type=Path)
    for name, default in {"epochs": 10, "batch": 6, "rate": 4e-3, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(2)

    pictures, masks = load(args.scenes / "train")
    unseen = load(args.scenes / "val")
    net = DeepLab(len(CLASSES))
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=1e-2)
    steps = args.epochs * (len(pictures) // args.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: min(1, (i + 1) / 50) * (1 - i / steps) ** 0.9)
    # Small things count for more, without drowning the rest: one over the fourth root of a class's share.
    share = torch.bincount(masks.flatten().long(), minlength=len(CLASSES)) / masks.numel()
    loss_of = nn.CrossEntropyLoss(weight=(share ** -0.25 / (share ** -0.25).mean()).float())

    start = time.time()
    for epoch in range(args.epochs):
        net.train()
        total, late = 0.0, epoch >= 0.8 * args.epochs
        for index in torch.randperm(len(pictures))[: len(pictures) // args.batch * args.batch].split(args.batch):
            x, y = augmented(pictures[index], masks[index], scaled=not late)
            loss = loss_of(net(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(index) / len(pictures)
        shown = f"mIoU {measure(net, *unseen)[2]:.4f}" if epoch % 5 == 4 else ""
        print(f"epoch {epoch + 1:3}  loss {total:.4f}  {time.time() - start:5.0f} s  {shown}", flush=True)

    # The file holds half precision, so that is what is measured.
    state = {k: v.half() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    net.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    accuracy, iou, mean = measure(net, *unseen)
    print(f"accuracy {accuracy:.4f}  mIoU {mean:.4f}  " + "  ".join(f"{c} {v:.3f}" for c, v in zip(CLASSES, iou)))
    metadata = {"segmenta.card": card(args, len(pictures), len(unseen[0]), accuracy, iou, mean)}
    save_file({k: v.contiguous() for k, v in state.items()}, args.out, metadata)


def card(args, scenes, unseen, accuracy, iou, mean):
    """The model file's card: all that is needed to use the weights, and how they came to be."""
    palette = Image.open(next((args.scenes / "val" / "masks").iterdir())).getpalette()
    return json.dumps({
        "format-version": 1,
        "architecture": "deeplabv3_mobilenet_v2",
        "options": {"width": str(WIDTH)},
        "classes": CLASSES,
        "palette": [palette[3 * i : 3 * i + 3] for i in range(len(CLASSES))],
        "in-channels": 3,
        "preprocessing": {"resize": "none", "mean": [0.5] * 3, "std": [0.5] * 3},
        "training": {
            "data": f"{scenes} generated road scenes, 320x240",
            "epochs": args.epochs, "batch": args.batch, "seed": args.seed,
            "optimiser": f"AdamW, rate {args.rate} falling by (1 - t)^0.9",
            "mean_iou": round(mean, 4),
            "pixel_accuracy": round(accuracy, 4),
            "iou": {c: round(v, 4) for c, v in zip(CLASSES, iou)},
            "measured_on": f"{unseen} generated scenes of other seeds, 320x240, one confusion matrix over all pixels",
        },
        "source": "trained from scratch by tools/train_demo.py",
        "licence": "MIT OR Apache-2.0",
    })


if __name__ == "__main__":
    main()
