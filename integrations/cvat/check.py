"""Holds that the masks which the function gives CVAT's SDK are the server's.

    python3 check.py target/release/segmenta NETWORK PICTURE
"""

import io
import subprocess
import sys
import urllib.request

import numpy as np
from PIL import Image

import segmenta_function


def main():
    binary, network, picture = sys.argv[1:]
    server = subprocess.Popen([binary, "serve", f"net={network}", "--port", "0", "--quiet"], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        photo = open(picture, "rb").read()
        with urllib.request.urlopen(urllib.request.Request(url + "/v1/segment?output=npy", data=photo)) as answer:
            labels = np.load(io.BytesIO(answer.read()))
        function = segmenta_function.create(url=url, model="net")
        shapes = function.detect(None, Image.open(picture))
        assert [label.id for label in function.spec.labels], "labels"
        for shape in shapes:
            *runs, left, top, right, bottom = [int(value) for value in shape.points]
            values = np.repeat(np.arange(len(runs)) % 2, runs).reshape(bottom - top + 1, right - left + 1)
            drawn = np.zeros(labels.shape, bool)
            drawn[top : bottom + 1, left : right + 1] = values == 1
            assert np.array_equal(drawn, labels == shape.label_id), shape.label_id
        print(f"ok {len(shapes)} masks")
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
