"""Prints what TensorBoard's own reader finds in a folder of events: a line a value, `step tag value`.

A picture's value is its width, height and the first bytes of its file. Exits with 3 where TensorBoard is missing.
"""

import sys

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    sys.exit(3)

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0})
events.Reload()
for tag in events.Tags()["scalars"]:
    for event in events.Scalars(tag):
        print(event.step, tag, event.value)
for tag in events.Tags()["images"]:
    for event in events.Images(tag):
        print(event.step, tag, event.width, event.height, event.encoded_image_string[:8].hex())
