"""Compares U-Nets on encoders that SMP takes from timm with what SMP computes.

    python tools/timm_encoders.py target/release/segmenta tu-convnext_atto tu-regnety_002

Needs torch, segmentation_models_pytorch 0.6, numpy and safetensors. Weights and pictures are formula.py's; SMP's sums run
in float64. Prints the largest difference as a share of the reference's root mean square, and fails above 1e-3.
"""

import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import segmentation_models_pytorch as smp
import torch
from safetensors.numpy import save_file

from formula import image, weight

CLASSES = 2


def side_of(encoder):
    """The only size that a Swin of timm takes; of others one that has no special place."""
    if "swin" not in encoder:
        return 96
    return 384 if encoder.endswith("384") else 224


def main():
    warnings.simplefilter("ignore")
    binary, *encoders = sys.argv[1:]
    worst = 0.0
    for encoder in encoders:
        model = smp.Unet(encoder, encoder_weights=None, classes=CLASSES)
        state = {key: weight(key, tuple(value.shape)).reshape(value.shape) for key, value in model.state_dict().items()}
        model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
        x = image(encoder, (1, 3, side_of(encoder), side_of(encoder)))
        with torch.no_grad():
            expected = model.double().eval()(torch.from_numpy(x).double()).numpy()
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            weights, given, got = folder / "weights.safetensors", folder / "x.npy", folder / "y.npy"
            save_file({key: np.ascontiguousarray(value) for key, value in state.items()}, weights)
            np.save(given, x.astype(np.float32))
            command = [binary, "forward", "--model", "unet", "--encoder", encoder, "--weights", weights]
            command += ["--input", given, "--output", got]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            error = np.abs(np.load(got) - expected).max() / np.sqrt((expected**2).mean())
        print(f"{encoder:40} {error:.1e}", flush=True)
        worst = max(worst, float(error))
    if not worst < 1e-3:
        sys.exit(f"off by {worst:.1e}")


if __name__ == "__main__":
    main()
