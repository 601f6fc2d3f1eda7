#!/usr/bin/env python3
"""Time one network of every encoder family beside PyTorch, ONNX Runtime and OpenVINO.

    python bench/families.py PEERS.py --ours target/release/segmenta
    python bench/families.py PEERS.py --ours target/release/segmenta --only dpn mit --rounds 9

PEERS.py is the script that times the networks of docs/performance.md ("Beside the peers"): its way of measuring is used
here (contenders in turn, medians of the rounds, ratios round by round). Prints one JSON line a network, then a table.

Needs torch, segmentation_models_pytorch, onnx, onnxruntime, openvino.
"""
import argparse, contextlib, importlib.util, io, json

NETWORKS = {  # encoder: (architecture, input)
    **{encoder: ("unet", (1, 3, 256, 256)) for encoder in [
        "resnet50", "resnext50_32x4d", "se_resnext50_32x4d", "timm-skresnet34", "dpn68", "densenet121", "vgg16_bn",
        "inceptionv4", "inceptionresnetv2", "xception", "mobilenet_v2", "mobileone_s1", "efficientnet-b0",
        "timm-efficientnet-b0", "timm-tf_efficientnet_lite0",
    ]},
    "mit_b0": ("segformer", (1, 3, 256, 256)),
    "tu-vit_tiny_patch16_224": ("dpt", (1, 3, 224, 224)),
}
CLASSES = 21
PEERS = ["pytorch", "pytorch channels_last", "onnxruntime", "openvino"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers")
    parser.add_argument("--ours", required=True)
    parser.add_argument("--only", nargs="*", help="parts of encoders' names")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=2)
    args = parser.parse_args()
    only, args.only = args.only, None

    spec = importlib.util.spec_from_file_location("peers", args.peers)
    peers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peers)
    rows = []
    for encoder, (architecture, shape) in NETWORKS.items():
        if only and not any(part in encoder for part in only):
            continue
        peers.FORWARD = {f"{architecture}_{encoder}": (architecture, encoder, CLASSES, shape)}
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                peers.forward(args)
        except Exception as error:  # one network's trouble must not cost the others
            print(json.dumps({"workload": encoder, "error": f"{type(error).__name__}: {error}"[:200]}), flush=True)
            continue
        row = json.loads(said.getvalue().splitlines()[-1])
        print(json.dumps(row), flush=True)
        rows.append((f"`{architecture}` on {encoder}", row))

    print("\n| network | Segmenta ms | PyTorch | PyTorch channels_last | ONNX Runtime | OpenVINO |\n|---|---|---|---|---|---|")
    for name, row in rows:
        cells = [f"{row['ahead'][peer]:.2f}" if peer in row["ahead"] else "–" for peer in PEERS]
        print(f"| {name} | {row['segmenta']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
