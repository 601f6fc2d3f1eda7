"""A function for CVAT's automatic annotation: masks by a network that `segmenta serve` has.

    segmenta serve cells=runs/nuclei/model.safetensors
    cvat-cli task auto-annotate TASK --function-file segmenta_function.py -p url=str:http://localhost:8080 -p model=str:cells

What CVAT asks of a function is said in its documentation (cvat_sdk.auto_annotation).
"""

import io
import json
import urllib.parse
import urllib.request

import cvat_sdk.auto_annotation as cvataa

BACKGROUND = ("background", "__background__")


class Segmenta:
    def __init__(self, url="http://localhost:8080", model=None, token=None):
        self._url = url.rstrip("/")
        self._model = model
        self._token = token
        listed = json.loads(self._ask("/v1/models"))["models"]
        chosen = next((one for one in listed if model in (None, one["name"])), None)
        if chosen is None:
            raise ValueError(f"no network {model!r} is served at {url}; one of {[one['name'] for one in listed]}")
        self._classes = [one for one in chosen["classes"] if one["name"] not in BACKGROUND]

    @property
    def spec(self):
        return cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec(one["name"], one["id"], type="mask") for one in self._classes]
        )

    def _ask(self, path, body=None):
        request = urllib.request.Request(self._url + path, data=body)
        if body is not None:
            request.add_header("content-type", "image/png")
        if self._token:
            request.add_header("authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def detect(self, context, image):
        file = io.BytesIO()
        image.convert("RGB").save(file, "png")
        query = {"output": "json", "polygons": "false", **({"model": self._model} if self._model else {})}
        told = json.loads(self._ask("/v1/segment?" + urllib.parse.urlencode(query), file.getvalue()))
        known = {one["id"] for one in self._classes}
        return [cvataa.mask(found["id"], cvat_mask(found)) for found in told["classes"] if found["id"] in known]


def cvat_mask(found):
    """CVAT's run lengths: row by row within the box, zeros first, and then the box's first and last column and row."""
    height, width = found["rle"]["size"]
    counts = decompressed(found["rle"]["counts"])
    is_of = bytearray()
    for i, count in enumerate(counts):
        is_of += bytes([i % 2]) * count
    left, top, wide, high = found["box"]
    runs, last = [0], 0
    for y in range(top, top + high):
        for x in range(left, left + wide):
            value = is_of[x * height + y]
            if value == last:
                runs[-1] += 1
            else:
                runs.append(1)
                last = value
    return runs + [left, top, left + wide - 1, top + high - 1]


def decompressed(text):
    """COCO's run lengths out of their string."""
    counts, at = [], 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(text[at]) - 48
            at += 1
            value |= (bits & 31) << shift
            shift += 5
            more = bool(bits & 32)
            if not more and bits & 16:
                value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def create(**parameters):
    """What `cvat-cli` calls."""
    return Segmenta(**parameters)
