"""What the tutorial "Image segmentation using segmentation_models_pytorch" (blog.paperspace.com) prints after an epoch.

Restated: pixels that are right of all pixels, and Dice of each batch of the loader, of which the mean is printed, so that
a last batch of fewer pictures counts as much as the others. Logits and masks are computed here;
`segmenta-train/src/run/measure.rs` counts the same.

    python tools/tutorials/unet_dice.py
"""

import torch

PICTURES, HEIGHT, WIDTH, BATCH = 5, 6, 8, 2

y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
logits = torch.stack([((5 * x + 3 * y + 2 * k) % 7 - 3.5).float() for k in range(PICTURES)])
masks = torch.stack([(((x + 2 * y + k) % 5) < 2).float() for k in range(PICTURES)])
# The last picture has nothing to find, and nothing is found there.
logits[4], masks[4] = -1.0, 0.0

right, pixels, dice = 0, 0, []
for begin in range(0, PICTURES, BATCH):
    found = (torch.sigmoid(logits[begin : begin + BATCH]) > 0.5).float()
    truth = masks[begin : begin + BATCH]
    right += int((found == truth).sum())
    pixels += found.numel()
    dice.append(float(2 * (found * truth).sum() / ((found + truth).sum() + 1e-7)))
print(f"right {right} of {pixels}; Dice {sum(dice) / len(dice):.6f} ({dice})")
