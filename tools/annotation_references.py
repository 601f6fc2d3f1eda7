"""What pycocotools makes of masks: packed run lengths that this project must read to the same pixels.

    pip install pycocotools numpy
    python tools/annotation_references.py > crates/segmenta-data/tests/annotations/packed.json
"""

import json

import numpy as np
from pycocotools import mask as coco

rng = np.random.default_rng(0)
cases = []
for height, width, block in [(1, 1, 1), (5, 7, 1), (40, 3, 8), (48, 64, 16), (33, 100, 5)]:
    # Blocks make long runs, single pixels short ones; the packed differences have both signs.
    coarse = rng.integers(0, 2, (-(-height // block), -(-width // block)), dtype=np.uint8)
    pixels = np.kron(coarse, np.ones((block, block), np.uint8))[:height, :width]
    pixels ^= (rng.random((height, width)) < 0.02).astype(np.uint8)
    packed = coco.encode(np.asfortranarray(pixels))
    columns = "".join(map(str, pixels.flatten(order="F")))
    cases.append(dict(size=packed["size"], counts=packed["counts"].decode(), area=int(coco.area(packed)), columns=columns))
print(json.dumps(cases, indent=0))
