"""Clients of the field against `segmenta serve`: Triton's, Hugging Face's, Label Studio's converter, pycocotools and plain requests.

    python3 tools/serve_clients.py target/release/segmenta NETWORK PICTURE

Starts the server on a free port and holds that every client gets the same mask. Clients that are not installed are skipped, saying
so: pip install tritonclient[http] huggingface_hub label-studio-sdk pycocotools numpy pillow.
"""

import base64
import io
import json
import subprocess
import sys
import urllib.request

import numpy as np
from PIL import Image


def post(address, body, kind="application/octet-stream"):
    request = urllib.request.Request(address, data=body, headers={"content-type": kind})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def triton(address, photo, labels):
    import tritonclient.http as triton

    client = triton.InferenceServerClient(address.removeprefix("http://"))
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("net")
    assert client.get_server_metadata()["name"] == "segmenta"
    assert client.get_model_config("net")["input"][0]["data_type"] == "TYPE_STRING"
    metadata = client.get_model_metadata("net.tensor")
    assert metadata["inputs"][0]["datatype"] == "FP32", metadata
    assert [one["state"] for one in client.get_model_repository_index()] == ["READY"] * 2
    for binary in (True, False):
        picture = triton.InferInput("image", [1], "BYTES")
        if binary:
            picture.set_data_from_numpy(np.array([photo], dtype=object))
        else:
            picture.set_data_from_numpy(np.array([base64.b64encode(photo)], dtype=object), binary_data=False)
        wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("labels", "shares")]
        answer = client.infer("net", [picture], outputs=wanted, request_id="7")
        assert answer.get_response()["id"] == "7"
        assert np.array_equal(answer.as_numpy("labels"), labels)
        assert abs(answer.as_numpy("shares").sum() - 1) < 1e-5
    values = np.random.default_rng(1).normal(size=(2, 3, 65, 97)).astype(np.float32)
    tensor = triton.InferInput("input", values.shape, "FP32")
    tensor.set_data_from_numpy(values)
    both = client.infer("net.tensor", [tensor]).as_numpy(metadata["outputs"][0]["name"])
    assert both.shape[0] == 2 and both.dtype == np.float32 and np.isfinite(both).all()
    client.unload_model("net")
    assert not client.is_model_ready("net")
    client.load_model("net")
    assert client.is_model_ready("net")
    assert client.get_inference_statistics("net")["model_stats"][0]["inference_count"] >= 4


def hugging_face(address, photo, labels):
    from huggingface_hub import InferenceClient

    found = InferenceClient(base_url=address).image_segmentation(photo)
    union = np.zeros(labels.shape, int)
    for element in found:
        mask = np.asarray(element.mask)
        assert mask.shape[:2] == labels.shape and 0 <= element.score <= 1 and element.label
        union += mask.reshape(*labels.shape, -1)[:, :, 0] == 255
    assert (union == (labels != 255)).all()


def label_studio(address, photo, labels):
    from label_studio_sdk.converter.brush import decode_rle

    uri = "data:image/jpeg;base64," + base64.b64encode(photo).decode()
    body = json.dumps({"tasks": [{"id": 1, "data": {"image": uri}}]}).encode()
    told = json.loads(post(address + "/predict", body, "application/json"))
    names = {one["name"]: one["id"] for one in json.loads(urllib.request.urlopen(address + "/v1/models/net").read())["classes"]}
    for result in told["results"][0]["result"]:
        painted = decode_rle(result["value"]["rle"]).reshape(*labels.shape, 4)[:, :, 3] == 255
        assert np.array_equal(painted, labels == names[result["value"]["brushlabels"][0]])


def coco(address, photo, labels):
    from pycocotools import mask

    told = json.loads(post(address + "/v1/segment?output=json", photo))
    for found in told["classes"]:
        own = labels == found["id"]
        assert np.array_equal(mask.decode(found["rle"]), own)
        assert found["rle"]["counts"] == mask.encode(np.asfortranarray(own))["counts"].decode()
        assert found["box"] == mask.toBbox(found["rle"]).astype(int).tolist()


def main():
    binary, network, picture = sys.argv[1:]
    photo = open(picture, "rb").read()
    server = subprocess.Popen([binary, "serve", f"net={network}", "--port", "0", "--quiet"], stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        assert address.startswith("http://"), "the server did not start"
        labels = np.load(io.BytesIO(post(address + "/v1/segment?output=npy", photo)))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(post(address + "/v1/segment", photo)))), labels)
        for client in (triton, hugging_face, label_studio, coco):
            try:
                client(address, photo, labels)
                print(f"ok {client.__name__}")
            except ImportError as missing:
                print(f"skipped {client.__name__}: {missing}")
    finally:
        server.terminate()
    assert server.wait(30) == 0, "it ends by itself"


if __name__ == "__main__":
    main()
