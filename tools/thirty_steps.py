"""Thirty steps of SMP's U-Net with resnet18 in PyTorch, float32: the loss of each, which ours must follow.

    python tools/thirty_steps.py conformance/thirty_steps.json
    SEGMENTA_CURVE=/tmp/ours.json cargo test -p segmenta-train --test thirty_steps
    python tools/thirty_steps.py conformance/thirty_steps.json --draw /tmp/ours.json docs/thirty-steps.png

Weights are formula.py's; a batch is what `batch` makes from names and numbers alone: coloured tiles under noise, and
the tiles' classes. Needs torch, segmentation_models_pytorch, numpy; matplotlib to draw.
"""

import json
import pathlib
import sys

import numpy as np

from formula import unit, weight

NAME, STEPS, BATCH, CLASSES, HEIGHT, WIDTH, TILE = "thirty", 30, 4, 4, 64, 96, 16
LR = 1e-3


def batch(step):
    """Pictures N×3×H×W and labels N×H×W."""
    shape = (BATCH, HEIGHT // TILE, WIDTH // TILE)
    tiles = np.floor(unit(f"{NAME}/tiles/{step}", shape) * CLASSES).astype(np.int64)
    labels = tiles.repeat(TILE, 1).repeat(TILE, 2)
    noise = (unit(f"{NAME}/noise/{step}", (BATCH, 3, HEIGHT, WIDTH)) - np.float32(0.5)) * np.float32(2)
    colour = np.stack([(labels == channel).astype(np.float32) for channel in range(3)], 1)
    return colour + noise, labels


def reference(path):
    import segmentation_models_pytorch as smp
    import torch

    torch.manual_seed(0)
    model = smp.create_model("unet", encoder_name="resnet18", encoder_weights=None, classes=CLASSES)
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.ones_like(value)
        else:
            state[name] = torch.from_numpy(weight(name, tuple(value.shape), False)).reshape(value.shape)
    model.load_state_dict(state)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), LR)
    losses = []
    for step in range(STEPS):
        pictures, labels = (torch.from_numpy(array) for array in batch(step))
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(pictures), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    record = {"torch": torch.__version__, "lr": LR, "losses": losses}
    path.write_text(json.dumps(record, indent=1) + "\n")


def draw(path, ours, picture):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    theirs, ours = (json.loads(p.read_text())["losses"] for p in (path, ours))
    steps = range(1, len(theirs) + 1)
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(7, 5), height_ratios=[3, 1])
    above.plot(steps, theirs, color="#888888", linewidth=5, label="PyTorch")
    above.plot(steps, ours, color="#0060a0", linewidth=1.5, label="Segmenta")
    above.set_ylabel("cross entropy")
    above.legend(frameon=False)
    below.bar(steps, [100 * abs(a - b) / b for a, b in zip(ours, theirs)], color="#0060a0")
    below.set_ylabel("apart, %")
    below.set_xlabel("step")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("U-Net with resnet18: the same weights, the same batches, Adam")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    if sys.argv[2:3] == ["--draw"]:
        draw(*(pathlib.Path(sys.argv[i]) for i in (1, 3, 4)))
    else:
        reference(pathlib.Path(sys.argv[1]))
