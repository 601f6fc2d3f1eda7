"""Writes what PyTorch computes for single layers: conformance/pieces/layers.safetensors.

    python tools/layer_references.py conformance/pieces/layers.safetensors

Needs torch, numpy and safetensors. Inputs and kernels are functions of their names (conformance/formula.rs), so
that only results are stored; sums run in float64. The names say the parameters; tests/conformance.rs of the
kernels repeats them.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

from formula import unit

SHAPE = (2, 19, 5, 7)


def tensor(name, shape, scale):
    return torch.from_numpy((unit(name, shape) - np.float32(0.5)) * np.float32(scale))


def main():
    results = {}
    x = tensor("layers/x", SHAPE, 4)
    # Few different values, so that maxima tie, and two that are no numbers.
    ties = (x * 2).floor() / 2
    ties.view(-1)[[40, 41]] = float("nan")
    # PyTorch treats maps by other loops if their channels lie side by side.
    assert torch.equal(
        F.max_pool2d(ties, 2).nan_to_num(9),
        F.max_pool2d(ties.to(memory_format=torch.channels_last), 2).nan_to_num(9),
    )

    results["sigmoid"] = torch.sigmoid(x.double() * 6)
    results["silu"] = F.silu(x.double() * 6)
    results["softmax"] = F.softmax(x.double() * 6, dim=1)

    for height, width in ((10, 14), (15, 21), (3, 4), (13, 17), (1, 1), (5, 40)):
        results[f"nearest_{height}x{width}"] = F.interpolate(x, size=(height, width), mode="nearest")

    for ceil in (False, True):
        for counted in (False, True):
            name = f"k3s2p1_ceil{ceil}_pad{counted}"
            results[f"avg_pool_{name}"] = F.avg_pool2d(
                x.double(), 3, 2, 1, ceil_mode=ceil, count_include_pad=counted
            )
    results["avg_pool_k2x3s2x1"] = F.avg_pool2d(x.double(), (2, 3), (2, 1))
    for height, width in ((1, 1), (2, 3), (3, 2), (8, 9)):
        results[f"adaptive_avg_pool_{height}x{width}"] = F.adaptive_avg_pool2d(x.double(), (height, width))

    for name, window in {
        "k2s2": dict(kernel_size=2, stride=2),
        "k3s2p1_ceil": dict(kernel_size=3, stride=2, padding=1, ceil_mode=True),
        "k2s2_ceil": dict(kernel_size=2, stride=2, ceil_mode=True),
        "k3s1p1d2": dict(kernel_size=3, stride=1, padding=1, dilation=2),
    }.items():
        values, indices = F.max_pool2d(ties, **window, return_indices=True)
        results[f"max_pool_{name}"] = values
        results[f"max_pool_{name}_indices"] = indices.to(torch.int32)
    values, indices = F.max_pool2d(x, 2, return_indices=True)
    results["max_unpool_k2s2"] = F.max_unpool2d(values, indices, 2, output_size=x.shape)

    for name, outs, groups, kernel, how in (
        ("k2s2", 18, 1, (2, 2), dict(stride=2)),
        ("k3s2p1o1", 5, 1, (3, 3), dict(stride=2, padding=1, output_padding=1)),
        ("k4s2p1_depthwise", 19, 19, (4, 4), dict(stride=2, padding=1)),
        ("k3x2s3x2p2x0d2x1", 3, 1, (3, 2), dict(stride=(3, 2), padding=(2, 0), dilation=(2, 1))),
        ("k3s1p1_groups", 38, 19, (3, 3), dict(padding=1)),
        ("k1s2", 2, 1, (1, 1), dict(stride=2)),
    ):
        weight = tensor(f"layers/{name}/weight", (SHAPE[1], outs // groups, *kernel), 1)
        bias = tensor(f"layers/{name}/bias", (outs,), 1)
        results[f"conv_transpose_{name}"] = F.conv_transpose2d(
            x.double(), weight.double(), bias.double(), groups=groups, **how
        )

    arrays = {name: (t.float() if t.is_floating_point() else t).contiguous().numpy() for name, t in results.items()}
    save_file(arrays, sys.argv[1])


if __name__ == "__main__":
    main()
