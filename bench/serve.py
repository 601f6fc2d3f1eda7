#!/usr/bin/env python3
"""`segmenta serve` beside FastAPI with PyTorch and FastAPI with OpenVINO, on the same processor, in the same minutes.

    python bench/serve.py --ours target/release/segmenta PICTURE...
    python bench/serve.py --ours target/release/segmenta --soak 5000 PICTURE...

Each server gets 480×360 JPEGs and answers masks of that size as PNG, for 1, 8 and 64 clients that keep their connections, each asking
again once it has its answer: requests a second, p50 and p99 in milliseconds, memory (RSS) after it. Weights are torchvision's architectures
drawn from a fixed seed: what is computed does not depend on them. The peers do what their documentation shows: the picture by Pillow,
the weights' own transforms, one network behind a lock, which took less time than requests that compute beside each other.

`--soak N` asks N times with pictures of mixed sizes and says what memory was after 100 and after N.

Needs torch, torchvision, fastapi, uvicorn, openvino, pillow; a peer whose packages are missing is left out, saying so.
"""
import argparse, http.client, io, json, os, random, socket, subprocess, sys, tempfile, threading, time

NETWORKS = ["lraspp_mobilenet_v3_large", "deeplabv3_resnet50"]
CLIENTS = [1, 8, 64]


def build(network):
    import torch, torchvision

    torch.manual_seed(0)
    return getattr(torchvision.models.segmentation, network)(weights=None, weights_backbone=None, num_classes=21).eval()


def peer(kind, network, port):
    """The server of a peer; runs in a process of its own."""
    import threading as threads

    import numpy as np, torch, uvicorn
    from fastapi import FastAPI, Request, Response
    from PIL import Image
    from starlette.concurrency import run_in_threadpool
    from torchvision.transforms._presets import SemanticSegmentation

    torch.set_num_threads(2)
    model, transforms, lock = build(network), SemanticSegmentation(resize_size=520), threads.Lock()
    if kind == "openvino":
        import openvino as ov

        converted = ov.convert_model(Wrapped(model), example_input=torch.zeros(1, 3, 520, 693))
        converted.reshape([1, 3, -1, -1])
        compiled = ov.Core().compile_model(converted, "CPU", {"INFERENCE_NUM_THREADS": 2})

    def segment(body):
        picture = Image.open(io.BytesIO(body)).convert("RGB")
        batch = transforms(picture).unsqueeze(0)
        with lock, torch.inference_mode():
            out = model(batch)["out"] if kind == "pytorch" else torch.from_numpy(compiled(batch.numpy())[0])
            out = torch.nn.functional.interpolate(out, picture.size[::-1], mode="bilinear", align_corners=False)
            labels = out.argmax(1)[0].to(torch.uint8).numpy()
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(labels)).save(file, "png")
        return file.getvalue()

    app = FastAPI()

    @app.post("/v1/segment")
    async def answer(request: Request):
        return Response(await run_in_threadpool(segment, await request.body()), media_type="image/png")

    uvicorn.run(app, port=port, log_level="warning")


def Wrapped(model):
    import torch

    class Out(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x)["out"]

    return Out().eval()


def ask(connection, body, path="/v1/segment"):
    connection.request("POST", path, body, {"content-type": "image/jpeg"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def load(port, pictures, clients, seconds):
    """Times of answers within the seconds, after a warm-up of two."""
    times, end, lock = [], time.perf_counter() + seconds + 2, threading.Lock()
    begin = end - seconds

    def client(seed):
        draw = random.Random(seed)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        own = []
        while time.perf_counter() < end:
            start = time.perf_counter()
            status, _ = ask(connection, draw.choice(pictures))
            done = time.perf_counter()
            if status != 200:
                raise SystemExit(f"status {status}")
            if begin <= start and done <= end:
                own.append(done - start)
        with lock:
            times.extend(own)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    at = lambda share: 1000 * times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")
    return {"per_second": len(times) / seconds, "p50": at(0.5), "p99": at(0.99)}


def memory(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(port, process):
    for _ in range(1200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"a server ended with {process.returncode}")
            time.sleep(0.1)
    raise RuntimeError("a server did not start")


def begin(kind, network, weights, args):
    port = free_port()
    if kind.startswith("segmenta"):
        command = [args.ours, "serve", f"{network}={weights}", "--port", str(port), "--quiet", "--queue", "256"]
        if "bf16" in kind:
            command += ["--precision", "bf16"]
    else:
        command = [sys.executable, __file__, "--peer", kind, network, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait(port, process)
    return process, port


def jpegs(paths, sizes):
    from PIL import Image

    made = []
    for path in paths:
        for size in sizes:
            file = io.BytesIO()
            Image.open(path).convert("RGB").resize(size).save(file, "jpeg", quality=90)
            made.append(file.getvalue())
    return made


def soak(args, folder):
    import torch

    weights = os.path.join(folder, "lraspp.pth")
    torch.save(build(NETWORKS[0]).state_dict(), weights)
    process, port = begin("segmenta", NETWORKS[0], weights, args)
    draw = random.Random(7)
    sizes = [(draw.randrange(32, 1200), draw.randrange(32, 900)) for _ in range(40)]
    pictures = jpegs(args.pictures[:2], sizes) + [b"not a picture", b""]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    statuses, early, start = {}, None, time.time()
    try:
        for i in range(args.soak):
            output = draw.choice(["mask", "overlay", "json", "npy", "mask&tta=flip", "mask&tile=256"])
            status, _ = ask(connection, draw.choice(pictures), f"/v1/segment?output={output}")
            statuses[status] = statuses.get(status, 0) + 1
            if i == 99:
                early = memory(process.pid)
            if i % 500 == 499:
                print(f"{i + 1} requests, {time.time() - start:.0f} s, {memory(process.pid):.0f} MiB", flush=True)
        print(json.dumps({"requests": args.soak, "seconds": round(time.time() - start), "statuses": statuses,
                          "MiB after 100": round(early), f"MiB after {args.soak}": round(memory(process.pid))}))
    finally:
        process.terminate()


def main():
    if sys.argv[1:2] == ["--peer"]:
        return peer(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--ours", required=True)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--only", nargs="*", default=NETWORKS)
    parser.add_argument("--soak", type=int)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.soak:
            return soak(args, folder)
        import torch

        pictures = jpegs(args.pictures, [(480, 360)])
        rows = []
        for network in args.only:
            weights = os.path.join(folder, f"{network}.pth")
            torch.save(build(network).state_dict(), weights)
            for kind in ["segmenta", "segmenta bf16", "pytorch", "openvino"]:
                try:
                    process, port = begin(kind, network, weights, args)
                except Exception as error:
                    print(f"skipped {kind}: {error}", flush=True)
                    continue
                try:
                    load(port, pictures, 1, 1)
                    row = {"network": network, "server": kind}
                    for clients in CLIENTS:
                        row[clients] = load(port, pictures, clients, args.seconds)
                    row["MiB"] = memory(process.pid)
                finally:
                    process.terminate()
                    process.wait()
                rows.append(row)
                print(json.dumps(row), flush=True)
    print("\n| network | server | " + " | ".join(f"{n} clients: a second, p50, p99 ms" for n in CLIENTS) + " | MiB |")
    print("|---" * (3 + len(CLIENTS)) + "|")
    for row in rows:
        cells = [f"{row[n]['per_second']:.1f}, {row[n]['p50']:.0f}, {row[n]['p99']:.0f}" for n in CLIENTS]
        print(f"| `{row['network']}` | {row['server']} | {' | '.join(cells)} | {row['MiB']:.0f} |")


if __name__ == "__main__":
    main()
