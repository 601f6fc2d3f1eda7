"""The two sheets of PyImageSearch's "Torch Hub Series #6: Image Segmentation" (pyimg.co/uk1oa), drawn by torchvision.

What the tutorial does with a batch, restated: pictures are resized, normalised by ImageNet's numbers and turned back;
classes lie over them in torchvision's own colours, six tenths strong; both go onto sheets of four a row, each picture
stretched to its own least and greatest value. The pictures and the labels are computed here, so that the network has
no say in it: `segmenta/src/job/sheets.rs` makes the same of the same, to the bit.

    python tools/tutorials/torch_hub_fcn.py      writes conformance/tutorials/{image_samples,segmentation_output}.png
"""

from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms
from torchvision.utils import draw_segmentation_masks, save_image

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
WIDTH, HEIGHT, SIDE, COUNT, CLASSES = 40, 28, 24, 5, 21
OUT = Path(__file__).resolve().parents[2] / "conformance" / "tutorials"


def photograph(k):
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            picture.putpixel((x, y), ((5 * x + 3 * y + 40 * k) % 256, (x * x + y) % 256, (255 - 4 * x - y) % 256))
    return picture


def labels(k):
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return (7 * x + 13 * y + 5 * k) // 9 % CLASSES


there = transforms.Compose(
    [transforms.Resize((SIDE, SIDE)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
)
back = transforms.Normalize([-m / s for m, s in zip(MEAN, STD)], [1 / s for s in STD])
samples, overlays = [], []
for k in range(COUNT):
    sample = (back(there(photograph(k))) * 255).to(torch.uint8)
    masks = labels(k) == torch.arange(CLASSES)[:, None, None]
    samples.append(sample)
    overlays.append(draw_segmentation_masks(sample, masks, alpha=0.6))
OUT.mkdir(exist_ok=True)
for name, pictures in [("image_samples", samples), ("segmentation_output", overlays)]:
    sheet = torch.stack(pictures).float() / 255
    save_image(sheet, OUT / f"{name}.png", nrow=4, scale_each=True, normalize=True)
