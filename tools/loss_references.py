"""Writes what PyTorch and segmentation_models_pytorch compute for settings that losses.json leaves out.

    python tools/loss_references.py conformance/pieces/loss_settings.json

Needs torch, numpy and segmentation-models-pytorch. `spec` is the loss as Segmenta's configurations name it; inputs
are as in losses.json (docs/conformance.md), in float64. Hard-example mining and the soft IoU are in neither library
and are written out here.
"""

import json
import sys

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F

from formula import centred, unit

VOID = 255
SMP = smp.losses
NAMES = {"binary": 1, "multiclass": 4, "multilabel": 3}


def target(mode, classes, void):
    if mode == "multiclass":
        labels = np.floor(unit(f"loss/labels/{classes}", (2, 9, 13)) * (classes + (0.5 if void else 0)))
        labels[labels >= classes] = VOID
        return torch.from_numpy(labels.astype(np.int64))
    shape = (2, classes, 9, 13)
    mask = (unit(f"loss/mask/{classes}", shape) > 0.6).astype(np.float64)
    if void:
        mask[unit(f"loss/void/{classes}", shape) > 0.9] = VOID
    return torch.from_numpy(mask)


def hard_pixels(x, t, threshold, min_kept, weight=None):
    """Cross entropy over pixels below the threshold, the min_kept hardest an image at least."""
    p = F.softmax(x, 1).gather(1, t.where(t != VOID, 0)[:, None])[:, 0]
    counts = t != VOID
    bound = p[counts].sort().values[min(min_kept * len(x), int(counts.sum())) - 1]
    kept = counts & ((p < threshold) | (p <= bound))
    return F.cross_entropy(x, t, weight, ignore_index=VOID, reduction="none")[kept].mean()


def soft_iou(x, t, smooth=0.0):
    """The mean over the classes that each image shows."""
    counts = (t != VOID) if t.dim() == 4 else (t != VOID)[:, None]
    if t.dim() == 4:
        p, real = torch.sigmoid(x), t.where(counts, 0)
    else:
        real = F.one_hot(t.where(t != VOID, 0), x.shape[1]).movedim(-1, 1) * counts
        p = F.softmax(x, 1)
    p = p * counts
    both = (p * real).sum((2, 3))
    iou = (both + smooth) / ((p + real - p * real).sum((2, 3)) + smooth)
    return (1 - iou)[real.sum((2, 3)) > 0].mean()


def without_void(loss):
    """Of values that count alone, where the library has no ignore index."""
    return lambda x, t: loss(x[t != VOID], t[t != VOID])


def in_float32(loss):
    """For a loss that asks for it."""
    return lambda x, t: loss(x.float(), t.float()).double()


def main():
    cases = []

    def case(mode, spec, loss, void=False):
        classes = NAMES[mode]
        x = torch.from_numpy(centred(f"loss/logits/{classes}", (2, classes, 9, 13))).double().requires_grad_()
        name = f"{spec['name']}-{len(cases)}"
        value = loss(x, target(mode, classes, void))
        value.backward()
        gradient = x.grad.flatten()
        probe = torch.from_numpy(unit(f"probe/{name}", (gradient.numel(),))).double() - 0.5
        cases.append(
            dict(
                name=name,
                mode=mode,
                classes=classes,
                ignore_index=VOID if void else None,
                spec=spec,
                loss=value.item(),
                gradient=[gradient.norm().item(), (gradient * probe).sum().item()],
            )
        )

    weights = [0.5, 1.0, 2.0, 4.0]
    torch_weights = torch.tensor(weights, dtype=torch.float64)
    torch.set_default_dtype(torch.float64)
    regions = [("dice", SMP.DiceLoss, {}), ("jaccard", SMP.JaccardLoss, {})]
    regions.append(("tversky", SMP.TverskyLoss, dict(alpha=0.7, beta=0.3, gamma=0.75)))
    for name, loss, own in regions:
        for mode in NAMES:
            case(mode, dict(name=name, smooth=2.0, **own), loss(mode, smooth=2.0, ignore_index=VOID, **own), True)
        for mode, chosen, by in (("multiclass", [3, 1], weights), ("multilabel", [0, 2], weights[:3])):
            more = dict(classes=chosen, class_weights=by, log_loss=True, **own)
            made = loss(mode, **more)
            made.class_weights = made.class_weights.double()
            case(mode, dict(name=name, **more), made)

    for mode in NAMES:
        for more in (
            dict(gamma=1.5, alpha=0.75),
            dict(gamma=1.0, normalized=True),
            dict(gamma=2.0, reduced_threshold=0.4),
            dict(gamma=3.0, alpha=0.25, normalized=True, reduced_threshold=0.6),
        ):
            case(mode, dict(name="focal", **more), SMP.FocalLoss(mode, **more))
    for more in (dict(gamma=2.0), dict(gamma=0.5, normalized=True)):
        case("binary", dict(name="focal", **more), SMP.FocalLoss("binary", ignore_index=VOID, **more), True)
        made = SMP.FocalLoss("multiclass", ignore_index=VOID, class_weights=weights, **more)
        made.class_weights = made.class_weights.double()
        case("multiclass", dict(name="focal", class_weights=weights, **more), made, True)

    for mode in NAMES:
        for per_image in (False, True):
            loss = in_float32(SMP.LovaszLoss(mode, per_image=per_image, ignore_index=VOID))
            case(mode, dict(name="lovasz", per_image=per_image), loss, True)
    loss = in_float32(SMP.LovaszLoss("multiclass", per_image=True))
    case("multiclass", dict(name="lovasz", per_image=True), loss)

    for void in (False, True):
        loss = torch.nn.CrossEntropyLoss(torch_weights, ignore_index=VOID, label_smoothing=0.2)
        case("multiclass", dict(name="cross_entropy", weight=weights, label_smoothing=0.2), loss, void)
    case("multiclass", dict(name="cross_entropy"), torch.nn.CrossEntropyLoss())

    each = torch.tensor([0.5, 3.0, 2.0])
    case(
        "multilabel",
        dict(name="bce_with_logits", pos_weight=each.tolist()),
        torch.nn.BCEWithLogitsLoss(pos_weight=each[:, None, None]),
    )
    case("multilabel", dict(name="bce_with_logits"), without_void(torch.nn.BCEWithLogitsLoss()), True)
    for mode in ("binary", "multilabel"):
        loss = SMP.SoftBCEWithLogitsLoss(smooth_factor=0.2, ignore_index=VOID, pos_weight=torch.tensor(2.0))
        case(mode, dict(name="soft_bce_with_logits", smooth_factor=0.2, pos_weight=2.0), loss, True)
    case("multiclass", dict(name="soft_cross_entropy", smooth_factor=0.0), SMP.SoftCrossEntropyLoss(smooth_factor=0.0))

    mcc = SMP.MCCLoss()
    case("binary", dict(name="mcc"), lambda x, t: mcc(x.sigmoid(), t))
    case("binary", dict(name="mcc"), without_void(lambda x, t: mcc(x.sigmoid()[None], t[None])), True)

    for threshold, kept in ((0.3, 1), (0.3, 60), (0.05, 100_000)):
        spec = dict(name="ohem_cross_entropy", threshold=threshold, min_kept=kept)
        case("multiclass", spec, lambda x, t: hard_pixels(x, t, threshold, kept), True)
    spec = dict(name="ohem_cross_entropy", threshold=0.4, min_kept=20, weight=weights)
    case("multiclass", spec, lambda x, t: hard_pixels(x, t, 0.4, 20, torch_weights))

    for mode in NAMES:
        case(mode, dict(name="soft_iou"), soft_iou)
        case(mode, dict(name="soft_iou", smooth=1.5), lambda x, t: soft_iou(x, t, 1.5), True)

    total = [dict(name="cross_entropy"), dict(name="dice", factor=0.5)]
    ce, dice = torch.nn.CrossEntropyLoss(), SMP.DiceLoss("multiclass")
    spec = dict(name="sum", terms=total)
    case("multiclass", spec, lambda x, t: ce(x, t) + 0.5 * dice(x, t))
    with open(sys.argv[1], "w") as file:
        json.dump(cases, file, indent=1)
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
