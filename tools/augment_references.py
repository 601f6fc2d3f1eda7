"""What torchvision (on PIL pictures), albumentations and OpenCV make of a picture, for `segmenta-data`'s augmentation:
    python tools/augment_references.py conformance/pieces/augment.safetensors
Run twice with the same file where one environment has not all libraries: what is there is kept.
torchvision 0.29 with Pillow 13, albumentations 2.0.8 with OpenCV 4.14."""
import pathlib
import sys

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

path = pathlib.Path(sys.argv[1])
tensors = load_file(path) if path.exists() else {}

width, height = 61, 47
y, x = np.mgrid[0:height, 0:width]
block = np.where((x // 8 + y // 6) % 2 == 0, 40, 0)
pixels = np.stack([x * 4 % 256, (y * 5 + block) % 256, (x * y + 3 * block) % 256], -1).astype(np.uint8)
ids = ((x // 7 + y // 5) % 5).astype(np.uint8)


def keep(name, picture):
    tensors[name] = np.ascontiguousarray(np.asarray(picture), dtype=np.uint8)


try:
    import torch
    import torchvision.transforms.functional as F
    from torchvision.transforms import InterpolationMode as Mode
except ImportError:
    print("no torchvision: its references are left as they are")
else:
    picture, mask = Image.fromarray(pixels), Image.fromarray(ids)
    fill = [9, 8, 7]
    corners = [[0, 0], [60, 0], [60, 46], [0, 46]], [[7, 3], [52, 9], [58, 40], [2, 44]]
    turns = {"affine": (23.0, [5, -3], 1.2), "rotate": (-37.5, [0, 0], 1.0)}
    for name, (angle, shift, scale) in turns.items():
        for what, image, mode, ground in (("picture", picture, Mode.BILINEAR, fill), ("mask", mask, Mode.NEAREST, 255)):
            keep(f"{name}.{what}", F.affine(image, angle, shift, scale, [0.0, 0.0], interpolation=mode, fill=ground))
    keep("perspective.picture", F.perspective(picture, *corners, interpolation=Mode.BILINEAR, fill=fill))
    keep("perspective.mask", F.perspective(mask, *corners, interpolation=Mode.NEAREST, fill=255))
    for name, function, factors in (
        ("brightness", F.adjust_brightness, (0.6, 1.7)),
        ("contrast", F.adjust_contrast, (0.4, 1.9)),
        ("saturation", F.adjust_saturation, (0.3, 2.1)),
        ("hue", F.adjust_hue, (0.2, -0.35)),
    ):
        for factor in factors:
            keep(f"{name}_{factor}", function(picture, factor))
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    for side, sigma in ((5, 1.1), (19, 2.7)):
        keep(f"gaussian_blur_{side}_{sigma}", F.gaussian_blur(tensor, [side, side], [sigma, sigma]).permute(1, 2, 0))

try:
    import albumentations as A
except ImportError:
    print("no albumentations: its references are left as they are")
else:
    def certain(transform):
        return transform(image=pixels)["image"]

    keep("blur_5", certain(A.Blur(blur_limit=(5, 5), p=1)))
    for alpha, beta in ((1.15, 0.1), (0.85, -0.15)):
        limits = dict(brightness_limit=(beta, beta), contrast_limit=(alpha - 1, alpha - 1))
        keep(f"brightness_contrast_{alpha}_{beta}", certain(A.RandomBrightnessContrast(**limits, p=1)))
    for gamma in (0.8, 1.2):
        keep(f"gamma_{gamma}", certain(A.RandomGamma(gamma_limit=(gamma * 100, gamma * 100), p=1)))
    def clahe(limit, columns, rows):
        return A.CLAHE(clip_limit=(limit, limit), tile_grid_size=(columns, rows), p=1)

    for limit, columns, rows in ((2, 8, 8), (4, 3, 5)):
        grey = np.ascontiguousarray(pixels[..., 1])
        keep(f"clahe_grey_{limit}_{columns}x{rows}", clahe(limit, columns, rows)(image=grey)["image"])
    keep("clahe_2_2x2", certain(clahe(2, 2, 2)))

save_file(tensors, path)
print(len(tensors), "tensors,", path.stat().st_size, "bytes")
