"""State dicts in the forms in which people save them, written by PyTorch and given to `segmenta forward`.

    python tools/state_dicts.py target/release/segmenta        # with torch, torchvision, segmentation_models_pytorch

Each must give PyTorch's logits, or be refused with the word that stands beside it. Prints a line a case; exits with 1
if one is not as it should be.
"""

import contextlib
import copy
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.utils.prune
import torchvision
from torch import nn

warnings.filterwarnings("ignore")
torch.manual_seed(0)
torch.set_num_threads(1)
X = torch.randn(1, 3, 128, 192)


def settled(net):
    """The network with statistics as if it had been trained, ready to predict."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def logits(net):
    with torch.no_grad():
        out = net(X)
    return (out["out"] if isinstance(out, dict) else out).numpy()


def behind(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def other_numbers(state):
    return {name: value + 1 if value.is_floating_point() else value for name, value in state.items()}


class PlainUNet(nn.Module):
    """A tutorial's U-Net whose names are its author's own: the layers of `unet_plain` in their order."""

    def __init__(self, classes):
        super().__init__()
        widths = [64, 128, 256, 512, 1024]

        def twice(a, b):
            parts = []
            for i in (a, b):
                parts += [nn.Conv2d(i, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
            return nn.Sequential(*parts)

        self.way_down = nn.ModuleList(twice(a, b) for a, b in zip([3] + widths, widths))
        self.back_up = nn.ModuleList(twice(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1]))
        self.scores = nn.Conv2d(64, classes, 1)

    def forward(self, x):
        maps = []
        for i, block in enumerate(self.way_down):
            x = block(nn.functional.max_pool2d(x, 2) if i else x)
            maps.append(x)
        for skip, block in zip(maps[-2::-1], self.back_up):
            x = nn.functional.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
            x = block(torch.cat([skip, x], 1))
        return self.scores(x)


def cases():
    """What is written, the logits or the words wanted, and arguments."""
    unet = settled(smp.Unet("mobilenet_v2", encoder_weights=None, classes=3))
    s, y = unet.state_dict(), logits(unet)
    yield "plain", s, y, []
    yield "plain, model named", s, y, ["--model", "unet"]
    for prefix in ("module.", "model.", "net.", "segmentor.", "_orig_mod.", "module.model.", "a.b._orig_mod.module."):
        yield f"prefix {prefix}", behind(prefix, s), y, []
    for key in ("state_dict", "model", "model_state_dict", "unet", "net", "weights", "generator", "params"):
        yield f"key {key}", {key: s, "epoch": 1, "best": 0.5, "config": {"lr": 0.1}}, y, []
    yield "two keys deep", {"checkpoint": {"student": s}, "epoch": 3}, y, []
    yield "a list of networks", {"folds": [s, other_numbers(s)]}, y, []
    buffers = {"mean": torch.zeros(1, 3, 1, 1), "std": torch.ones(1, 3, 1, 1)}
    yield "Lightning with mean and std", {"state_dict": {**buffers, **behind("model.", s)}}, y, []
    optimizer = torch.optim.AdamW(unet.parameters())
    for parameter in unet.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    s, y = unet.state_dict(), logits(unet)
    lightning = {
        "epoch": 1,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {**behind("model.", s), "loss.weight": torch.ones(3), "metric.confmat": torch.zeros(3, 3)},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [],
        "hyper_parameters": {"arch": "unet", "device": torch.device("cpu"), "dtype": torch.float16},
    }
    yield "Lightning's .ckpt with optimiser", lightning, y, []
    copies = {"ema_state_dict": other_numbers(s), "model": s, "optimizer": optimizer.state_dict()}
    yield "averaged weights first", copies, y, []
    yield "averaged weights by key", {"model": other_numbers(s), "ema": s}, y, ["--weights-key", "ema"]
    yield "a key that is not there", copies, "ema_state_dict", ["--weights-key", "average"]
    averaged = torch.optim.swa_utils.AveragedModel(unet)
    yield "AveragedModel", averaged.state_dict(), y, []
    yield "DataParallel", nn.DataParallel(unet).state_dict(), y, []
    yield "DataParallel of the encoder", {k.replace("encoder.", "encoder.module.", 1): v for k, v in s.items()}, y, []
    with contextlib.suppress(Exception):
        yield "torch.compile", torch.compile(unet).state_dict(), y, []
    thop = {**s, "total_ops": torch.zeros(1), "encoder.features.0.0.total_params": torch.zeros(1)}
    yield "thop's counters", thop, y, []
    yield "double", {k: v.double() if v.is_floating_point() else v for k, v in s.items()}, y, []
    for kind in (torch.float16, torch.bfloat16):
        rounded = {k: v.to(kind) if v.is_floating_point() else v for k, v in s.items()}
        less = copy.deepcopy(unet)
        less.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in rounded.items()})
        yield str(kind), rounded, logits(less), []
    yield "channels last", copy.deepcopy(unet).to(memory_format=torch.channels_last).state_dict(), y, []
    one = torch.cat([v.flatten() for v in s.values() if v.is_floating_point()])
    shared, at = {}, 0
    for name, value in s.items():
        if value.is_floating_point():
            shared[name] = one[at : at + value.numel()].view(value.shape)
            at += value.numel()
    yield "views of one storage, without counters", shared, y, []
    yield "a module saved whole", unet, y, []
    yield "a module in a checkpoint", {"model": unet, "epoch": 1}, y, []
    # Written once, and referred to where it comes again.
    once = dict(s)
    yield "one dictionary under two keys", {"model": once, "model_ema": once}, y, []
    yield "the second of them by key", {"model": once, "model_ema": once}, y, ["--weights-key", "model_ema"]
    legacy = lambda path: torch.save({"state_dict": s}, path, _use_new_zipfile_serialization=False)
    yield "before PyTorch 1.6", legacy, y, []
    from safetensors.torch import save_file

    tensors = {k: v.contiguous().clone() for k, v in behind("model.", s).items()}
    yield "safetensors with metadata", lambda path: save_file(tensors, path, metadata={"format": "pt"}), y, []

    v = settled(
        torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=3, aux_loss=True
        )
    )
    t = v.state_dict()
    for leaf in ("weight", "bias"):
        t["aux_classifier.4." + leaf] = torch.zeros(21, *t["aux_classifier.4." + leaf].shape[1:])
    yield "torchvision, auxiliary head left at 21", t, logits(v), []
    yield "   with --classes 21", t, "the file is for 3 classes", ["--classes", "21"]
    lraspp = settled(torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None))
    yield "torchvision's LR-ASPP", {"model": lraspp.state_dict()}, logits(lraspp), []

    deeplab = settled(smp.DeepLabV3("resnet18", encoder_weights=None, classes=2))
    old = {
        k.replace("decoder.aspp.", "decoder.0.").replace("decoder.conv.", "decoder.1.").replace("decoder.bn.", "decoder.2."): v
        for k, v in deeplab.state_dict().items()
    }
    yield "SMP's first names of DeepLabV3", {"state_dict": old}, logits(deeplab), []

    for make, encoder in (
        (smp.UnetPlusPlus, "resnet18"),
        (smp.MAnet, "resnet18"),
        (smp.Linknet, "resnet18"),
        (smp.FPN, "mobilenet_v2"),
        (smp.PSPNet, "resnet18"),
        (smp.PAN, "resnet18"),
        (smp.DeepLabV3Plus, "resnet18"),
        (smp.UPerNet, "resnet18"),
        (smp.Segformer, "mit_b0"),
        (smp.Unet, "timm-efficientnet-b0"),
        (smp.Unet, "densenet121"),
    ):
        net = settled(make(encoder, encoder_weights=None, classes=4))
        yield f"{make.__name__} on {encoder}", {"net": net.state_dict()}, logits(net), []

    own = settled(PlainUNet(4))
    by_order = ["--model", "unet_plain", "--match", "by-order"]
    yield "an author's own names, by order", {"model": own.state_dict(), "epoch": 2}, logits(own), by_order
    yield "   without that flag", own.state_dict(), "--match by-order", ["--model", "unet_plain"]
    yield "   without a model", own.state_dict(), "--match by-order", []
    yield "   of another network", own.state_dict(), "differ from the", ["--model", "segnet", "--match", "by-order"]

    normed = copy.deepcopy(unet)
    torch.nn.utils.weight_norm(normed.segmentation_head[0])
    yield "weight_norm", normed.state_dict(), "weight_norm", []
    parted = copy.deepcopy(unet)
    torch.nn.utils.parametrizations.weight_norm(parted.segmentation_head[0])
    yield "a parametrization", parted.state_dict(), "parametrization", []
    pruned = copy.deepcopy(unet)
    torch.nn.utils.prune.l1_unstructured(pruned.segmentation_head[0], "weight", 0.5)
    yield "pruned", pruned.state_dict(), "pruning", []
    quantised = {"weight": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)}
    yield "quantised", quantised, "quantised", []
    yield "no tensors", {"state_dict": {}}, "no tensors", []
    yield "TorchScript", lambda path: torch.jit.save(torch.jit.trace(unet, X), path), "TorchScript", []
    yield "a NumPy archive", lambda path: np.savez(open(path, "wb"), a=np.ones(3)), "NumPy", []
    lacking = {k: v for k, v in s.items() if k != "decoder.blocks.2.conv2.1.bias"}
    yield "one name is missing", lacking, "`unet` on `mobilenet_v2`", []
    yield "another model named", s, "holds a `unet`", ["--model", "fcn_resnet50"]
    alone = {k.removeprefix("encoder."): v for k, v in s.items() if k.startswith("encoder.")}
    yield "an encoder alone", alone, "the encoder `mobilenet_v2` alone", []


def main():
    segmenta = str(pathlib.Path(sys.argv[1]).resolve())
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.save(folder / "x.npy", X.numpy())
        for what, written, wanted, arguments in cases():
            weights = folder / "w.pth"
            weights.unlink(missing_ok=True)
            if callable(written) and not isinstance(written, nn.Module):
                written(str(weights))
            else:
                torch.save(written, weights)
            line = [segmenta, "forward", *arguments, "--weights", "w.pth", "--input", "x.npy", "--output", "y.npy"]
            ran = subprocess.run(line, cwd=folder, capture_output=True, text=True)
            said = ran.stderr.strip()
            if isinstance(wanted, str):
                good = ran.returncode in (1, 2) and wanted in said and "panicked" not in said
                result = said.splitlines()[-1][:170] if said else "no message"
            elif ran.returncode == 0:
                error = np.abs(np.load(folder / "y.npy") - wanted).max() / np.abs(wanted).max()
                good, result = error < 1e-4, f"{error:.1e} off"
            else:
                good, result = False, said.splitlines()[-1][:300] if said else "no message"
            wrong += not good
            print("ok   " if good else "WRONG", f"{what:45}", result, flush=True)
    print(f"{wrong} wrong")
    sys.exit(wrong > 0)


main()
