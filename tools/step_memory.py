"""Peak memory of PyTorch's training step, one process for each workload and layout, beside ours.

    python tools/step_memory.py PEERS.py target/release/segmenta

PEERS.py is the bench that times both (it has the workloads and builds the networks). What importing torch takes by
itself is printed too, since we have nothing like it.
"""
import importlib.util
import json
import resource
import subprocess
import sys


def peers(path):
    spec = importlib.util.spec_from_file_location("peers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(path, name, layout):
    import torch

    bench = peers(path)
    torch.set_num_threads(2)
    base = peak_mb()
    step = bench.trainer(bench.STEP[name], getattr(torch, layout))
    for _ in range(3):
        step()
    print(json.dumps({"import": base, "peak": peak_mb()}))


if __name__ == "__main__":
    if len(sys.argv) == 5:
        measure(sys.argv[1], sys.argv[2], sys.argv[3])
        sys.exit()
    path, binary = sys.argv[1:3]
    for name, (model, encoder, classes, shape, loss, optimizer) in peers(path).STEP.items():
        row = {"workload": name}
        for layout in ("contiguous_format", "channels_last"):
            out = subprocess.run([sys.executable, __file__, path, name, layout, "x"], check=True, capture_output=True, text=True)
            found = json.loads(out.stdout.strip().splitlines()[-1])
            row[layout], row["import"] = round(found["peak"]), round(found["import"])
        command = [binary, "bench", "step", "--model", model, "--classes", str(classes), "--input", "x".join(map(str, shape))]
        command += ["--loss", loss, "--optimizer", optimizer, "--threads", "2", "--runs", "1", "--json"]
        command += ["--encoder", encoder] if encoder else []
        out = subprocess.run(command, check=True, capture_output=True, text=True)
        row["segmenta"] = round(json.loads(out.stdout)["peak_rss_mb"])
        print(json.dumps(row), flush=True)
