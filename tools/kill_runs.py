#!/usr/bin/env python3
"""Kills a small training run at random moments and resumes it, again and again.

    tools/kill_runs.py target/release/segmenta --kills 1000

A run with a checkpoint each step is killed (SIGKILL) at a moment drawn from the time that it has left, and resumed,
until it is done; then the next. After every kill each file that is there must be whole, and the run must resume; when
a run is done its weights, its checkpoint and its scores must be the bytes of a run that nobody killed. Then what else
ends a run: Ctrl-C, a full disk, a folder that cannot be written. Needs nothing beside Python's library.
"""

import argparse
import csv
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

RECIPE = """
augment = [{ name = "horizontal_flip", p = 0.5 }]
[model]
encoder = "mobilenet_v2"
encoder_weights = "none"
settings = { encoder_depth = 3, decoder_channels = [16, 16, 16] }
[input]
size = [32, 32]
[optimizer]
name = "adam"
[schedule]
name = "poly"
power = 0.9
[train]
epochs = 3
batch = 2
ema = 0.9
previews = 1
checkpoint_steps = 1
"""
# Compared byte by byte with the run that nobody killed.
SAME = ["model.safetensors", "last.safetensors", "metrics.csv", "confusion.csv", "config.toml", "begun.json"]


def png(path, width, height, channels, pixels):
    """Writes 8-bit grey (1 channel) or RGB (3)."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    row = width * channels
    lines = b"".join(b"\0" + pixels[y * row : (y + 1) * row] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


def make_data(folder, count=8, side=32):
    draw = random.Random(1)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for n in range(count):
        cut = draw.randrange(8, 24)
        inside = [int(x < cut and y < cut) for y in range(side) for x in range(side)]
        colours = bytes(min(255, 120 * i + draw.randrange(80)) for i in inside for _ in range(3))
        png(folder / "images" / f"{n}.png", side, side, 3, colours)
        png(folder / "masks" / f"{n}.png", side, side, 1, bytes(inside))


def whole(path):
    """What is wrong with a file of a run; nothing if it is whole."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        if len(data) < 8:
            return "shorter than its length"
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        ends = [t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"]
        return None if 8 + length + max(ends, default=0) == len(data) else "of another length than it says"
    if path.suffix == ".csv":
        rows = list(csv.reader(data.decode().splitlines()))
        return None if rows and data.endswith(b"\n") and len({len(row) for row in rows}) == 1 else "a torn line"
    if path.suffix == ".png":
        return None if data.endswith(b"IEND\xaeB`\x82") else "cut off"
    if path.suffix == ".gif":
        return None if data.endswith(b";") else "cut off"
    if path.suffix == ".html":
        return None if data.rstrip().endswith(b"</html>") else "cut off"
    if path.suffix == ".json":
        json.loads(data)
    return None


def torn(folder):
    for path in sorted(folder.rglob("*")):
        # Unfinished files beside the real ones are what a kill may leave; the next run removes them.
        if path.is_file() and not path.name.startswith("."):
            try:
                problem = whole(path)
            except (ValueError, KeyError) as error:
                problem = str(error)
            if problem:
                yield f"{path.relative_to(folder)}: {problem}"


def scores(folder):
    """metrics.csv but for the speed and the waiting, which no two runs share."""
    rows = list(csv.reader((folder / "metrics.csv").read_text().splitlines()))
    return [row[:-2] for row in rows]


def without_times(name, folder):
    return repr(scores(folder)).encode() if name == "metrics.csv" else (folder / name).read_bytes()


class Tool:
    def __init__(self, binary, home):
        self.binary, self.home = binary, home

    def words(self, out, *more):
        words = [self.binary, "train", "small.toml", "--data", "data", "-o", out, "--threads", "1", "-q"]
        return words + list(more)

    def run(self, out, *more, **how):
        return subprocess.run(self.words(out, *more), cwd=self.home, capture_output=True, text=True, **how)

    def start(self, out, *more, **how):
        return subprocess.Popen(
            self.words(out, *more), cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how
        )


def fail(text):
    sys.exit(f"FAILED: {text}")


def begun(folder):
    return (folder / "config.toml").exists()


def kills(tool, wanted, seed):
    draw = random.Random(seed)
    start = time.monotonic()
    answer = tool.run("straight")
    if answer.returncode != 0:
        fail(f"the run that nobody kills: {answer.stderr}")
    length = time.monotonic() - start
    straight = tool.home / "straight"
    done = runs = resumed = 0
    print(f"a run takes {length:.2f} s; seed {seed}", flush=True)
    while done < wanted:
        runs += 1
        name = f"run{runs}"
        folder = tool.home / name
        while True:
            go_on = begun(folder)
            begin = time.monotonic()
            process = tool.start(name, *(["--resume"] if go_on else []))
            resumed += go_on
            if done < wanted:
                try:
                    # Up to somewhat more than a whole run, so that the end is met, too.
                    process.wait(draw.uniform(0, 1.2 * length))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
            _, said = process.communicate()
            if process.returncode == -signal.SIGKILL:
                done += 1
                problems = list(torn(folder)) if folder.exists() else []
                if problems:
                    fail(f"kill {done}, {name}: " + "; ".join(problems))
                if done % 50 == 0:
                    print(f"{done} kills, {runs} runs", flush=True)
                continue
            if process.returncode != 0:
                fail(f"{name}, after kill {done}: exit {process.returncode}: {said}")
            if not go_on:
                # A machine that others use is slow at times.
                length = time.monotonic() - begin
            break
        for file in SAME:
            if without_times(file, folder) != without_times(file, straight):
                fail(f"{name}: {file} is not that of the run that nobody killed")
        left = [path.name for path in folder.iterdir() if path.name.startswith(".") and path.name != ".lock"]
        if left:
            fail(f"{name}: {left} is left")
        shutil.rmtree(folder)
    print(f"{done} kills, {resumed} resumes, {runs} runs to their end: none torn, all the same bytes", flush=True)


def one_message(what, answer, code):
    lines = [line for line in answer.stderr.splitlines() if line.startswith("error:")]
    if answer.returncode != code or len(lines) != 1 or "panicked" in answer.stderr:
        fail(f"{what}: exit {answer.returncode}, not {code}: {answer.stderr}")
    print(f"{what}: exit {code} · {lines[0]}", flush=True)


def ends(tool):
    """Ctrl-C, a full disk, a folder that cannot be written: one message, the right exit code, the old state whole."""
    straight = tool.home / "straight"
    process = tool.start("stopped")
    folder = tool.home / "stopped"
    while not (folder / "last.safetensors").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate()
    one_message("Ctrl-C", subprocess.CompletedProcess([], process.returncode, out, said), 130)
    resume = next(line for line in said.splitlines() if "--resume" in line)
    resume = resume[resume.index("segmenta train") :]
    answer = subprocess.run(
        resume.replace("segmenta", str(tool.binary), 1) + " -q", cwd=tool.home, shell=True, capture_output=True, text=True
    )
    if answer.returncode != 0:
        fail(f"what was printed to go on: {resume}: {answer.stderr}")
    for file in ["model.safetensors", "last.safetensors"]:
        if (folder / file).read_bytes() != (straight / file).read_bytes():
            fail(f"after Ctrl-C: {file} is not that of the run that nobody stopped")

    # A disk that is full: a write of more than so many bytes fails, as a write to a full disk does.
    tool.run("full", "--max-steps", "1")
    folder = tool.home / "full"
    before = (folder / "last.safetensors").read_bytes()

    def full():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    one_message("full disk", tool.run("full", "--resume", preexec_fn=full), 1)
    if (folder / "last.safetensors").read_bytes() != before or list(torn(folder)):
        fail("a full disk: the checkpoint before is not whole")
    answer = tool.run("full", "--resume")
    if answer.returncode != 0 or (folder / "last.safetensors").read_bytes() != (straight / "last.safetensors").read_bytes():
        fail(f"after a full disk: {answer.stderr}")

    # A folder that cannot be made, for a file is in its way: as root may write anywhere, this is what holds for all.
    (tool.home / "file").write_text("mine")
    one_message("a file in the way", tool.run("file/run"), 1)
    if os.geteuid() != 0:
        shutil.copytree(straight, tool.home / "locked")
        os.chmod(tool.home / "locked", 0o555)
        one_message("read-only folder", tool.run("locked", "--resume", "--set", "train.epochs=4"), 1)
        os.chmod(tool.home / "locked", 0o755)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    with tempfile.TemporaryDirectory() as home:
        home = Path(home)
        make_data(home / "data")
        (home / "small.toml").write_text(RECIPE)
        tool = Tool(Path(args.binary).resolve(), home)
        kills(tool, args.kills, seed)
        ends(tool)


main()
