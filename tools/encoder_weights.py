#!/usr/bin/env python3
"""Writes the table of encoders' weights, `crates/segmenta-hub/src/encoder_weights.csv`.

    python3 tools/encoder_weights.py > crates/segmenta-hub/src/encoder_weights.csv

A row is a file of weights that an encoder can begin with: what it is called, where it is, and its licence where that
is known. Nothing is downloaded; the rows are facts that the installed packages state:

- segmentation_models_pytorch 0.6: repository and revision of each row of its `pretrained_settings`;
- timm 1.0 for the encoders that SMP takes from there (`tu-*`): the repository of the default weights, and the licence
  that timm records, also for SMP's copies of weights that timm has under another name;
- torchvision 0.29: URL and size of its ImageNet files, for the encoders whose layers have the same names there. The
  licence is that of torchvision.

The `mit_*` are NVIDIA's (github.com/NVlabs/SegFormer, LICENSE). What none of these says stays empty.
"""

import csv
import sys

import segmentation_models_pytorch as smp
import timm
import torch
import torchvision

from parameter_counts import TIMM

TIMM_ENCODERS = ["vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224"]
TIMM_ENCODERS += [(begin + end).removeprefix("tu-") for begin, ends in TIMM.items() for end in ends]
NVIDIA = "NVIDIA Source Code License for SegFormer (non-commercial)"
TORCHVISION = "BSD-3-Clause"


def timm_name(encoder: str, weights: str) -> str | None:
    """The name under which timm has what SMP's row is a copy of."""
    facebook = {"ssl": "fb_ssl_yfcc100m_ft_in1k", "swsl": "fb_swsl_ig1b_ft_in1k", "instagram": "fb_wsl_ig1b_ft_in1k"}
    if weights in facebook:
        return f"{encoder}.{facebook[weights]}"
    if encoder.startswith("timm-efficientnet"):
        model = encoder.replace("timm-efficientnet-", "tf_efficientnet_")
        # The largest learned with another augmentation.
        tags = {"imagenet": "ra_in1k" if model.endswith("b8") else "aa_in1k", "advprop": "ap_in1k",
                "noisy-student": "ns_jft_in1k", "noisy-student-475": "ns_jft_in1k_475"}
        return f"{model}.{tags[weights]}"
    if encoder.startswith("timm-tf_efficientnet_lite"):
        return f"{encoder.removeprefix('timm-')}.in1k"
    if encoder.startswith("timm-skres"):
        return f"{encoder.removeprefix('timm-')}.ra_in1k"
    if encoder.startswith("mobileone"):
        return f"{encoder}.apple_in1k"
    if encoder.startswith("dpn"):
        return f"{encoder}.mx_in1k"
    return None


def licence(encoder: str, weights: str) -> str:
    if encoder.startswith("mit_"):
        return NVIDIA
    name = timm_name(encoder, weights)
    if name in timm.list_pretrained():
        return timm.models.get_pretrained_cfg(name).license or ""
    if weights == "imagenet" and hasattr(torchvision.models, encoder):
        return TORCHVISION
    return ""


def torchvision_rows(encoder: str):
    """torchvision's files for a network whose entries are all of the encoder's, under its names."""
    if encoder not in torchvision.models.list_models(module=torchvision.models):
        return
    with torch.device("meta"):
        own = smp.encoders.get_encoder(encoder, weights=None).state_dict()
        theirs = torchvision.models.get_model(encoder).state_dict()
    if any(name not in theirs or theirs[name].shape != entry.shape for name, entry in own.items()):
        return
    for row in torchvision.models.get_model_weights(encoder):
        # A file of layers alone, which were trained for another task.
        if row.name != "IMAGENET1K_FEATURES":
            yield [encoder, row.name, row.url, row.meta["_file_size"], TORCHVISION]


def main() -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["encoder", "weights", "source", "mebibytes", "licence"])
    for encoder, settings in smp.encoders.encoders.items():
        for weights, row in (settings["pretrained_settings"] or {}).items():
            source = f"{row['repo_id']}@{row['revision']}"
            table.writerow([encoder, weights, source, "", licence(encoder, weights)])
        table.writerows(torchvision_rows(encoder))
    for model in TIMM_ENCODERS:
        row = timm.models.get_pretrained_cfg(model)
        if row.hf_hub_id:
            table.writerow([f"tu-{model}", "imagenet", row.hf_hub_id, "", row.license or ""])


if __name__ == "__main__":
    main()
