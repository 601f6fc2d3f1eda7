#!/usr/bin/env python3
"""Folders of transformers through Segmenta and back: `save_pretrained` there, `models save` here, `from_pretrained` there.

    python tools/hub_folders.py --ours target/release/segmenta

For each class a small network with random weights. What comes back must be the same network: every tensor the same
bits, every class its name, and every picture prepared as before. Ends with exit code 1 where it is not.

Needs torch, transformers, numpy and pillow.
"""
import argparse, pathlib, subprocess, sys, tempfile

import numpy as np
import torch
import transformers
from PIL import Image

LABELS = {0: "road", 1: "sky", 2: "car"}


def networks():
    common = {"id2label": LABELS, "label2id": {name: id for id, name in LABELS.items()}}
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 2, 3, 4], decoder_hidden_size=16, **common
    )
    yield (
        transformers.SegformerForSemanticSegmentation(config),
        transformers.SegformerImageProcessor(size={"height": 64, "width": 96}),
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ours", default="target/release/segmenta")
    args = p.parse_args()
    torch.manual_seed(0)
    noise = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    picture = Image.fromarray(noise)
    fine = True
    for network, processor in networks():
        name = type(network).__name__
        with tempfile.TemporaryDirectory() as root:
            theirs, ours = pathlib.Path(root) / "theirs", pathlib.Path(root) / "ours"
            network.save_pretrained(theirs)
            processor.save_pretrained(theirs)
            subprocess.run([args.ours, "models", "save", theirs, "-o", ours, "--quiet"], check=True, stdout=subprocess.DEVNULL)
            back, report = type(network).from_pretrained(ours, output_loading_info=True)
            strange = [what for what in report.values() if what]
            before, after = network.state_dict(), back.state_dict()
            tensors = before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
            prepared = [
                kind.from_pretrained(folder)(picture, return_tensors="pt")["pixel_values"]
                for kind, folder in ((type(processor), theirs), (type(processor), ours))
            ]
            same = {
                "nothing missing": not strange,
                "tensors": tensors,
                "classes": back.config.id2label == LABELS,
                "pictures": torch.equal(*prepared),
            }
            for what, is_same in same.items():
                print(f"{name:40} {what:20} {'same' if is_same else 'DIFFERS'}", flush=True)
                fine &= is_same
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
