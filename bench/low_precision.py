#!/usr/bin/env python3
"""Time networks in low precision beside what the peers make of the same networks, in one run.

    python bench/low_precision.py --ours target/release/segmenta
    python bench/low_precision.py --ours target/release/segmenta --only unet lraspp --rounds 7 --pictures DIR

For each network: PyTorch in f32 and under autocast to bf16, ONNX Runtime in f32 and in int8 (static QDQ, a scale a channel),
OpenVINO in f32, as it is by default (bf16 where the processor has AMX or AVX-512 BF16) and in int8 (NNCF's post-training
quantisation), Segmenta in f32, bf16 and int8 (`segmenta quantize`). A round times each contender once, in turn, so that a
change in the machine's speed meets all of them; medians of the rounds are printed, and Segmenta's ratios are taken round by
round. Weights are random, batch norms have seen noise: speed does not depend on them, scores would.

Every int8 is calibrated on the same pictures: those of --pictures, or noise.

Needs torch, torchvision, segmentation_models_pytorch, onnx, onnxruntime, openvino, nncf, pillow.
"""
import argparse, importlib.metadata, json, os, pathlib, statistics, subprocess, sys, tempfile, time, warnings

warnings.filterwarnings("ignore")

NETWORKS = {  # name: (architecture, encoder, input)
    "fcn_resnet50": ("fcn_resnet50", None, (1, 3, 520, 520)),
    "deeplabv3_resnet50": ("deeplabv3_resnet50", None, (1, 3, 520, 520)),
    "deeplabv3_mobilenet": ("deeplabv3_mobilenet_v3_large", None, (1, 3, 520, 520)),
    "lraspp": ("lraspp_mobilenet_v3_large", None, (1, 3, 520, 520)),
    "unet_resnet34": ("unet", "resnet34", (1, 3, 512, 512)),
    "unet_efficientnet_b3": ("unet", "efficientnet-b3", (8, 3, 256, 192)),
}
CLASSES = 21
FLAGS = ["amx_bf16", "amx_int8", "avx512_fp16", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx2"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build(architecture, encoder):
    import torch
    torch.manual_seed(0)
    if encoder:
        import segmentation_models_pytorch as smp
        network = smp.create_model(architecture, encoder_name=encoder, encoder_weights=None, classes=CLASSES)
    else:
        import torchvision
        make = getattr(torchvision.models.segmentation, architecture)
        network = make(weights=None, weights_backbone=None, num_classes=CLASSES)
    # Batch norms measure something, so that values keep a size through the layers.
    network.train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.randn(2, 3, 128, 128))
    return network.eval()


class Logits:
    """The main result of a network, as a module."""

    def __new__(cls, network):
        import torch

        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.network = network

            def forward(self, x):
                result = self.network(x)
                return result["out"] if isinstance(result, dict) else result

        return Module().eval()


def inputs(shape, folder, count):
    """Batches to calibrate on."""
    import numpy
    files = []
    if folder:
        files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        rng = numpy.random.default_rng(0)
        return [rng.standard_normal(shape).astype("float32") for _ in range(count)]
    from PIL import Image
    batches = []
    for at in range(count):
        pictures = []
        for n in range(shape[0]):
            file = files[(at * shape[0] + n) % len(files)]
            picture = Image.open(file).convert("RGB").resize((shape[3], shape[2]))
            pixels = (numpy.asarray(picture, "float32") / 255 - MEAN) / STD
            pictures.append(pixels.transpose(2, 0, 1))
        batches.append(numpy.stack(pictures).astype("float32"))
    return batches


def clock(work):
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def peers(network, shape, batches, threads, folder):
    import numpy, torch
    logits = Logits(network)
    x = torch.randn(*shape)
    array = x.numpy()
    contenders = {}

    def eager(autocast):
        def run():
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                logits(x)
        return run

    contenders["PyTorch f32"] = eager(False)
    contenders["PyTorch autocast bf16"] = eager(True)
    path = os.path.join(folder, "network.onnx")
    with torch.no_grad():
        torch.onnx.export(logits, (x,), path, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"])

    import onnxruntime as ort
    from onnxruntime import quantization as quant
    from onnxruntime.quantization.shape_inference import quant_pre_process
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads

    def session(file):
        made = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return lambda: made.run(None, {"x": array})

    contenders["ONNX Runtime f32"] = session(path)

    class Reader(quant.CalibrationDataReader):
        def __init__(self):
            self.left = iter(batches)

        def get_next(self):
            batch = next(self.left, None)
            return None if batch is None else {"x": batch}

    prepared, int8 = os.path.join(folder, "prepared.onnx"), os.path.join(folder, "int8.onnx")
    try:
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quant.quantize_static(prepared, int8, Reader(), quant_format=quant.QuantFormat.QDQ, per_channel=True,
                              activation_type=quant.QuantType.QUInt8, weight_type=quant.QuantType.QInt8)
        contenders["ONNX Runtime int8"] = session(int8)
    except Exception as error:
        print(f"# ONNX Runtime int8: {type(error).__name__}: {str(error)[:120]}", file=sys.stderr)

    import openvino as ov
    core = ov.Core()
    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}

    def compiled(model, **more):
        request = core.compile_model(model, "CPU", {**hints, **more}).create_infer_request()
        return lambda: request.infer({0: array})

    model = core.read_model(path)
    contenders["OpenVINO f32"] = compiled(model, INFERENCE_PRECISION_HINT="f32")
    contenders["OpenVINO default"] = compiled(model)
    try:
        import nncf
        small = nncf.quantize(core.read_model(path), nncf.Dataset(batches), subset_size=len(batches))
        contenders["OpenVINO int8"] = compiled(small)
    except Exception as error:
        print(f"# OpenVINO int8: {type(error).__name__}: {str(error)[:120]}", file=sys.stderr)
    return contenders


def ours(binary, architecture, encoder, network, shape, threads, pictures, folder):
    import torch
    weights, int8 = os.path.join(folder, "network.pth"), os.path.join(folder, "network.int8.safetensors")
    torch.save(network.state_dict(), weights)
    named = ["--model", architecture, "--weights", weights] + (["--encoder", encoder] if encoder else [])
    quantize = [binary, "quantize", *named, "--images", *pictures, "--max-drop", "100", "--range", "percentile",
                "--out", int8, "--quiet", "--json"]
    subprocess.run(quantize, check=True, capture_output=True)
    size = "x".join(map(str, shape))

    def run(arguments, seen):
        def once():
            command = [binary, "bench", "forward", *arguments, "--input", size, "--threads", str(threads), "--runs", "3",
                       "--json"]
            line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]
            seen.update(json.loads(line))
            return seen["median_ms"]
        return once

    seen = {precision: {} for precision in ("f32", "bf16", "int8")}
    contenders = {
        "Segmenta f32": run([*named, "--precision", "f32"], seen["f32"]),
        "Segmenta bf16": run([*named, "--precision", "bf16"], seen["bf16"]),
        "Segmenta int8": run(["--weights", int8], seen["int8"]),
    }
    return contenders, seen


def noise_pictures(folder, shape):
    """Two pictures of noise, for a calibration without any."""
    import numpy
    from PIL import Image
    rng = numpy.random.default_rng(0)
    files = []
    for n in range(2):
        pixels = rng.integers(0, 256, (shape[2], shape[3], 3), dtype="uint8")
        files.append(os.path.join(folder, f"noise{n}.png"))
        Image.fromarray(pixels).save(files[-1])
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the segmenta binary")
    parser.add_argument("--only", nargs="*", help="parts of networks' names")
    parser.add_argument("--pictures", help="a folder of pictures that every int8 is calibrated on; noise without it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    import torch
    torch.set_num_threads(args.threads)
    try:
        info = pathlib.Path("/proc/cpuinfo").read_text()
        name = next(line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name"))
        flags = [flag for flag in FLAGS if f" {flag} " in info.replace("\n", " ")]
    except (OSError, StopIteration):
        name, flags = "unknown", []
    versions = [f"{package} {importlib.metadata.version(package)}" for package in ("torch", "onnxruntime", "openvino", "nncf")]
    print(f"# {name} · {' '.join(flags) or 'no flags known'} · {args.threads} threads · {', '.join(versions)}", flush=True)

    rows = []
    for name, (architecture, encoder, shape) in NETWORKS.items():
        if args.only and not any(part in name for part in args.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            network = build(architecture, encoder)
            batches = inputs(shape, args.pictures, 4)
            pictures = [args.pictures] if args.pictures else noise_pictures(folder, shape)
            contenders, seen = ours(args.ours, architecture, encoder, network, shape, args.threads, pictures, folder)
            others = peers(network, shape, batches, args.threads, folder)
            for run in others.values():
                run()
            times = {contender: [] for contender in [*contenders, *others]}
            for _ in range(args.rounds):
                for contender, run in contenders.items():
                    times[contender].append(run())
                for contender, run in others.items():
                    # Two, of which the first warms the caches that the others emptied.
                    run()
                    times[contender].append(clock(run))
        ms = {contender: statistics.median(rounds) for contender, rounds in times.items()}
        ahead = {}
        for precision in ("f32", "bf16", "int8"):
            own = times[f"Segmenta {precision}"]
            ahead[precision] = {
                contender: round(statistics.median(t / o for t, o in zip(rounds, own)), 2)
                for contender, rounds in times.items() if not contender.startswith("Segmenta")
            }
        memory = {p: round(s["arena_mb"] + s["weights_mb"], 1) for p, s in seen.items()}
        row = {"network": name, "input": shape, "ms": {c: round(t, 1) for c, t in ms.items()}, "ahead": ahead,
               "memory_mb": memory, "by": {p: s["multiplies_by"] for p, s in seen.items()}}
        print(json.dumps(row), flush=True)
        rows.append(row)

    names = list(dict.fromkeys(contender for row in rows for contender in row["ms"]))
    print(f"\n| network, ms | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for row in rows:
        cells = [f"{row['ms'][contender]}" if contender in row["ms"] else "–" for contender in names]
        print(f"| {row['network']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
