"""Whether exported ONNX files say what we say: onnxruntime and OpenVINO beside `segmenta forward`.

    python tools/onnx_check.py --segmenta target/release/segmenta [--short] [--only WORD]

Every architecture of SMP and torchvision, and an encoder of every family of SMP's under a U-Net, with weights drawn at random (batch
statistics too), is exported with all extents left open, checked by onnx.checker with full shape inference, and run at
two sizes, the second one as a batch of two, from one file. The largest difference may be 1e-4 of the logits' root mean square
(at least 1). Of transformers' classes the small networks of `conformance/huggingface` are taken. Labels from bytes are compared, too, and
may differ where two classes are as likely. Needs torch, torchvision,
segmentation_models_pytorch, safetensors, onnx, onnxruntime, openvino.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
import torchvision
from safetensors import safe_open

import formula

SHORT = ["smp:unet:resnet18", "smp:pspnet:resnet18", "smp:segformer:mit_b0", "tv:lraspp_mobilenet_v3_large", "hub:beit-small-v4"]
# Their windows are as large as the picture: a file is of one size.
WHOLE_WINDOWS = ("hub:beit-small-shared", "hub:beit-small-v4", "hub:beit-small-wide", "hub:data2vec")
HUB = Path(__file__).parent.parent / "conformance" / "huggingface" / "models"
DECODERS = ["unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "deeplabv3", "deeplabv3plus", "pan", "upernet", "segformer"]
ENCODERS = [
    "resnext50_32x4d", "vgg11_bn", "densenet121", "mobilenet_v2", "efficientnet-b0", "timm-efficientnet-b0", "mit_b0",
    "dpn68", "inceptionv4", "inceptionresnetv2", "xception", "se_resnet50", "timm-resnest14d", "timm-res2net50_26w_4s",
    "timm-regnetx_002", "timm-skresnet18", "timm-gernet_s", "mobileone_s0", "timm-mobilenetv3_large_100",
]
TORCHVISION = ["fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]


def cases():
    yield from (f"smp:{decoder}:resnet18" for decoder in DECODERS)
    yield "smp:segformer:mit_b0"
    yield "smp:dpt:tu-vit_tiny_patch16_224"
    yield from (f"smp:unet:{encoder}" for encoder in ENCODERS)
    yield from (f"tv:{name}" for name in TORCHVISION)
    yield from (f"hub:{path.stem}" for path in sorted(HUB.glob("*.safetensors")))


def network(case):
    library, name, *encoder = case.split(":")
    if library == "tv":
        make = getattr(torchvision.models.segmentation, name)
        return make(weights=None, weights_backbone=None, num_classes=5), ["--model", name]
    extra = {"dynamic_img_size": True} if name == "dpt" else {}
    net = smp.create_model(name, encoder_name=encoder[0], encoder_weights=None, classes=5, **extra)
    return net, ["--model", name, "--encoder", encoder[0]]


def fill(net):
    """Statistics that are no identity, and results that are not all alike."""
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if key.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif key.endswith("running_var"):
                value.uniform_(0.8, 1.2)


def compare(case, binary, folder):
    shapes = [(1, 3, 96, 128), (2, 3, 160, 96)]
    if case.startswith("hub:"):
        model, shape = hub(case.removeprefix("hub:"), folder / "hub")
        shapes = [shape, (2, shape[1], shape[2] + 32, shape[3] + 64)]
    else:
        torch.manual_seed(0)
        net, names = network(case)
        fill(net)
        weights = folder / "weights.safetensors"
        state = {key: value.contiguous().clone() for key, value in net.state_dict().items()}
        safetensors.torch.save_file(state, weights)
        model = [*names, "--weights", str(weights)]
    path = folder / "model.onnx"
    model = [*model, "--threads", "1"]
    call = lambda *words: subprocess.run([binary, *words, "-q"], check=True, capture_output=True, text=True)
    if case.startswith(WHOLE_WINDOWS):
        size = ["--size", f"{shapes[0][2]}x{shapes[0][3]}"]
        shapes[1] = (2, *shapes[0][1:])
        model += size
        forward = model[: -len(size)]
    else:
        forward = model
    call("export", *model, "-o", str(path))
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    worst = {"onnxruntime": 0.0, "openvino": 0.0}
    for shape in shapes:
        x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
        np.save(folder / "x.npy", x)
        call("forward", *forward, "--input", str(folder / "x.npy"), "--output", str(folder / "y.npy"))
        ours = np.load(folder / "y.npy")
        bound = max(1.0, float(np.sqrt(np.mean(ours**2))))
        results = {"onnxruntime": session.run(None, {"input": x})[0], "openvino": compiled([x])[0]}
        for runtime, theirs in results.items():
            if theirs.shape != ours.shape:
                raise ValueError(f"{runtime}: {theirs.shape}, not {ours.shape}")
            if not np.isfinite(theirs).all():
                raise ValueError(f"{runtime}: values that are not finite")
            worst[runtime] = max(worst[runtime], float(np.abs(theirs - ours).max()) / bound)
    check_labels(call, model, path, folder, shapes[1])
    return worst


def check_labels(call, model, path, folder, shape):
    """Pictures of bytes and labels, beside the file's own logits of the same pictures."""
    if shape[1] != 3:
        return
    bytes_path = folder / "bytes.onnx"
    call("export", *model, "-o", str(bytes_path), "--with-preprocessing", "--labels")
    onnx.checker.check_model(str(bytes_path), full_check=True)
    session = onnxruntime.InferenceSession(bytes_path, providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    recipe = json.loads(said["preprocessing"])
    n, _, height, width = shape
    pictures = np.random.default_rng(2).integers(0, 256, (n, height, width, 3), np.uint8)
    x = (pictures.astype(np.float32) / 255 - np.float32(recipe["mean"])) / np.float32(recipe["std"])
    logits = onnxruntime.InferenceSession(path).run(None, {"input": x.transpose(0, 3, 1, 2).copy()})[0]
    logits = torch.nn.functional.interpolate(torch.from_numpy(logits), (height, width), mode="bilinear")
    labels = torch.from_numpy(session.run(None, {"input": pictures})[0]).long()
    if logits.shape[1] > 1:
        chosen = logits.gather(1, labels[:, None])[:, 0]
        behind = float((logits.max(1).values - chosen).max())
        if behind > 1e-4 * max(1.0, float(logits.square().mean().sqrt())):
            raise ValueError(f"a label whose value is {behind:.1e} below another's")


def hub(name, folder):
    """A folder of one of transformers' classes, and the shape of its reference's input."""
    with safe_open(HUB / f"{name}.safetensors", "np") as file:
        said = file.metadata()
    folder.mkdir()
    (folder / "config.json").write_text(said["config"])
    transposed = json.loads(said.get("transposed", "[]"))
    state = json.loads(said["state_dict"])
    tensors = {key: formula.weight(key, shape, key in transposed) for key, shape in state.items()}
    for key in tensors:
        if key.endswith("attn_mask_probs"):  # Whether the masks still hide anything.
            tensors[key] = np.full(state[key], float(name == "eomt-masked"), np.float32)
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in tensors.items()}
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return ["--model", str(folder)], tuple(json.loads(said["spec"])["input"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segmenta", default="target/release/segmenta")
    parser.add_argument("--short", action="store_true", help="a few networks, for CI")
    parser.add_argument("--only", default="", help="cases with this word in their name")
    args = parser.parse_args()
    failed = 0
    for case in SHORT if args.short else cases():
        if args.only not in case:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                worst = compare(case, args.segmenta, Path(folder))
                ok = max(worst.values()) <= 1e-4
                told = "  ".join(f"{runtime} {value:.1e}" for runtime, value in worst.items())
            except subprocess.CalledProcessError as error:
                ok, told = False, error.stderr.strip()
            except Exception as error:  # Each library refuses with a class of its own.
                ok, told = False, f"{type(error).__name__}: {error}".splitlines()[0]
        failed += not ok
        print("ok    " if ok else "FAILED", case, told, flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
