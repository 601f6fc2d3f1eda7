#!/usr/bin/env python3
"""Train one recipe in Segmenta and in PyTorch with segmentation_models_pytorch, and compare scores and time.

    python bench/learn.py nuclei-unet --data DATA/nuclei --encoder WEIGHTS/mobilenet_v2_imagenet.safetensors
    python bench/learn.py camvid-unet --data DATA/camvid --encoder ... --seeds 0 1 2 --epochs 12 --out runs/learn

Both see the same pictures, split by `segmenta data split` (or by the data's own folders), resized by the same
filters, flipped with p 0.5 and jittered (0.2, 0.2, 0.2, 0.5) with p 0.2; the same encoder weights, batch size, Adam with
poly 0.9 per step, loss and number of epochs. What is drawn at random differs, hence several seeds. Scores are those
of the last epoch, over all validation pixels at the network's input size; seconds are those of the whole run, with
its start and its measuring after each epoch (and in Segmenta before the first, with previews and report).

Needs torch, torchvision, segmentation_models_pytorch, safetensors, numpy and pillow.
"""
import argparse, csv, json, pathlib, statistics, subprocess, sys, time

import numpy as np
from PIL import Image

RECIPES = {  # size (width, height), classes of the logits, the score, ids that count as no class
    "nuclei-unet": ((256, 256), 1, "Dice", []),
    "camvid-unet": ((320, 240), 11, "mIoU", [11]),
}
BATCH, RATE, POWER, VOID = 8, 1e-3, 0.9, 255
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def pairs(recipe, data):
    """Pictures and masks to learn from, and to be measured on."""
    if recipe == "camvid-unet":
        names = lambda split: sorted((data / "images" / split).iterdir())
        return [[(p, data / "labels" / s / (p.stem + ".png")) for p in names(s)] for s in ("train", "val")]
    listed = lambda s: (data / "splits" / f"{s}.txt").read_text().split("\n")
    pair = lambda n: (data / "images" / f"{n}.png", data / "masks" / f"{n}.png")
    return [[pair(n) for n in listed(s) if n] for s in ("train", "val")]


def ours(args, recipe, seed, out):
    command = [args.ours, "train", recipe, "--data", args.data, "-o", out, "--overwrite", "--quiet",
               "--set", f"model.encoder_weights={args.encoder}", "--set", f"train.seed={seed}",
               "--set", f"train.epochs={args.epochs}", "--threads", args.threads]
    start = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True)
    seconds = time.perf_counter() - start
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    return {"seconds": seconds, "scores": [float(r[RECIPES[recipe][2]]) for r in rows if float(r["epoch"]) > 0]}


def torch_data(recipe, items, learning):
    import random, torch, torchvision
    size, classes, _, ignored = RECIPES[recipe]
    jitter = torchvision.transforms.ColorJitter(0.2, 0.2, 0.2, 0.5)

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(items)

        def __getitem__(self, index):
            picture, mask = (Image.open(path) for path in items[index])
            picture = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)
            mask = mask.resize(size, Image.Resampling.NEAREST)
            if learning and random.random() < 0.5:
                flip = Image.Transpose.FLIP_LEFT_RIGHT
                picture, mask = picture.transpose(flip), mask.transpose(flip)
            if learning and random.random() < 0.2:
                picture = jitter(picture)
            x = (np.asarray(picture, np.float32) / 255 - MEAN) / STD
            y = np.array(mask)
            y = (y > 0).astype(np.uint8) if classes == 1 else np.where(np.isin(y, ignored), VOID, y)
            return torch.from_numpy(x.transpose(2, 0, 1).astype(np.float32)), torch.from_numpy(y.astype(np.int64))

    return torch.utils.data.DataLoader(Pictures(), BATCH, shuffle=learning, num_workers=args.workers,
                                       persistent_workers=True)


def score(confusion, classes):
    right = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - right
    if classes == 1:
        return 2 * right[1] / (confusion.sum(0) + confusion.sum(1))[1]
    there = union > 0
    return float((right[there] / union[there]).mean())


def peer(args, recipe, seed, out):
    import random, safetensors.torch, torch
    import segmentation_models_pytorch as smp
    torch.set_num_threads(args.threads)
    random.seed(seed), torch.manual_seed(seed)
    start = time.perf_counter()
    classes = RECIPES[recipe][1]
    net = smp.Unet("mobilenet_v2", encoder_weights=None, classes=classes)
    net.encoder.load_state_dict(safetensors.torch.load_file(args.encoder), strict=False)
    # Channels last is the faster layout for it on processors.
    net = net.to(memory_format=torch.channels_last)
    train, val = (torch_data(recipe, items, i == 0) for i, items in enumerate(pairs(recipe, args.data)))
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, len(train) * args.epochs, POWER)
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=VOID)
    bce = torch.nn.BCEWithLogitsLoss()
    scores = []
    for epoch in range(args.epochs):
        net.train()
        for x, y in train:
            optimizer.zero_grad()
            logits = net(x.contiguous(memory_format=torch.channels_last))
            loss = bce(logits[:, 0], y.float()) if classes == 1 else cross_entropy(logits, y)
            loss.backward()
            optimizer.step(), schedule.step()
        net.eval()
        counted = max(classes, 2)
        confusion = np.zeros((counted, counted))
        with torch.no_grad():
            for x, y in val:
                logits = net(x.contiguous(memory_format=torch.channels_last))
                found = (logits[:, 0] > 0).long() if classes == 1 else logits.argmax(1)
                counts = y != VOID
                both = torch.bincount(y[counts] * counted + found[counts], minlength=counted * counted)
                confusion += both.reshape(counted, counted).numpy()
        scores.append(float(score(confusion, classes)))
        print(f"  PyTorch, seed {seed}, epoch {epoch + 1}: {scores[-1]:.4f}", file=sys.stderr)
    seconds = time.perf_counter() - start
    out.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in net.state_dict().items()}
    safetensors.torch.save_file(state, out / "model.safetensors")
    return {"seconds": seconds, "scores": scores}


def main():
    for recipe in args.recipes:
        data = args.data
        if recipe == "nuclei-unet":
            # A folder with lists of its own, so that the data's stays as it is.
            args.data = args.out.resolve() / "nuclei"
            if not args.data.exists():
                args.data.mkdir(parents=True)
                [(args.data / part).symlink_to(data.resolve() / part) for part in ("images", "masks")]
                split = [args.ours, "data", "split", args.data, "--train", "0.8", "--seed", "42", "--quiet"]
                subprocess.run([str(word) for word in split], check=True)
        results = {"ours": [], "PyTorch": []}
        for seed in args.seeds:
            for name, run in (("ours", ours), ("PyTorch", peer)):
                if args.only and name != args.only:
                    continue
                result = run(args, recipe, seed, args.out / f"{recipe}-{name}-{seed}")
                results[name].append(result)
                print(json.dumps({"recipe": recipe, "who": name, "seed": seed, "seconds": round(result["seconds"], 1),
                                  "scores": [round(s, 4) for s in result["scores"]]}), flush=True)
        for name, runs in results.items():
            last = [run["scores"][-1] for run in runs]
            if last:
                spread = f" ± {statistics.stdev(last):.4f}" if len(last) > 1 else ""
                seconds = statistics.median(run["seconds"] for run in runs)
                print(f"{recipe}  {name:8} {RECIPES[recipe][2]} {statistics.mean(last):.4f}{spread}  {seconds:.0f} s")
        args.data = data


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipes", nargs="+", choices=list(RECIPES))
    p.add_argument("--data", type=pathlib.Path, required=True)
    p.add_argument("--encoder", type=pathlib.Path, required=True, help="ImageNet weights of MobileNetV2")
    p.add_argument("--ours", default="target/release/segmenta")
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--workers", type=int, default=2, help="processes that prepare PyTorch's pictures")
    p.add_argument("--only", choices=["ours", "PyTorch"])
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/learn"))
    args = p.parse_args()
    main()
