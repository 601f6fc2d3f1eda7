"""How far PyTorch's own float32 is from the float64 that the `*.step.json` files hold.

A ReLU or a maximum that rounding sends the other way moves a gradient by a whole term, so on the files' small maps
float32 gradients differ by more than their digits. What PyTorch's float32 differs by, in four of its own ways through
the same mathematics, is what a test may grant others: `conformance/step_rounding.json`, where rows of networks whose files
are elsewhere stay.

    python tools/step_rounding.py CONFORMANCE_SOURCE conformance

CONFORMANCE_SOURCE holds `models.py`, `formula.py` and `seed_models.py`, which made the files. Needs torch, torchvision,
segmentation_models_pytorch, safetensors.
"""
import json
import math
import pathlib
import sys


def main(source, folder):
    sys.path.insert(0, str(source))
    import torch
    import models

    def step(spec, layout, onednn):
        """Loss and gradient norms of one step in float32."""
        with torch.backends.mkldnn.flags(enabled=onednn):
            model = models.fill(models.build(spec)).train().to(memory_format=layout)
            for module in model.modules():
                if isinstance(module, (torch.nn.Dropout, torch.nn.Dropout2d)):
                    module.p = 0.0
                if type(module).__name__ == "DropPath":
                    module.drop_prob = 0.0
            if hasattr(getattr(model, "encoder", None), "_drop_connect_rate"):
                model.encoder._drop_connect_rate = 0.0
            x = models.image(spec["name"] + "/image", tuple(spec["input"])).to(memory_format=layout)
            batch, _, height, width = x.shape
            values = models.unit(spec["name"] + "/target", (batch, height, width))
            target = torch.from_numpy((values * (spec["classes"] + 0.5)).astype("int64"))
            target[target >= spec["classes"]] = 255
            results = models.out_of(model(x))
            entropy = torch.nn.functional.cross_entropy
            loss = entropy(results["out"], target, ignore_index=255)
            if "aux" in results:
                loss = loss + 0.5 * entropy(results["aux"], target, ignore_index=255)
            loss.backward()
            return {n: p.grad.double().norm().item() for n, p in model.named_parameters() if p.grad is not None}

    def apart(norms, reference):
        """Largest and mean difference of norms, relative to the reference's."""
        pairs = [(norms[name], pair[0]) for name, pair in reference.items() if pair is not None]
        floor = 1e-4 * sum(norm for _, norm in pairs) / len(reference)
        errors = [abs(ours - norm) / max(norm, floor) for ours, norm in pairs]
        return max(errors), math.fsum(errors) / len(errors)

    rows = folder / "step_rounding.json"
    found = json.loads(rows.read_text()) if rows.exists() else {}
    layouts = [torch.contiguous_format, torch.channels_last]
    ways = [(layout, onednn) for onednn in (True, False) for layout in layouts]
    for path in sorted(folder.glob("models/*.step.json")):
        case = json.loads(path.read_text())
        errors = [apart(step(case["spec"], *way), case["gradients"]) for way in ways]
        found[case["spec"]["name"]] = {"worst": max(e[0] for e in errors), "mean": max(e[1] for e in errors)}
        print(case["spec"]["name"], " · ".join(f"{worst:.1e} {mean:.1e}" for worst, mean in errors), flush=True)
    rows.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:3]))
