#!/usr/bin/env bash
# Every combination of features that is offered compiles, without a warning where no GPU is asked for.
# `tools/features.sh clippy` lints the tests and examples of those, too; `tools/features.sh devices` alone runs the tests of
# learning on a device, by Burn's operations on the processor.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=${1:-check}

if [ "$tool" = devices ]; then
  # Every kind of node, loss and optimiser beside our own kernels; then the lints of what only a feature compiles.
  cargo test -p segmenta-devices -p segmenta-train --features segmenta-train/flex \
    --test devices --test losses --test optimisers
  cargo clippy -p segmenta-devices -p segmenta-train --features segmenta-train/flex --all-targets -- -D warnings
  exit
fi

offered() {
  printf '\n-- %s\n' "$*"
  if [ "$tool" = clippy ]; then
    cargo clippy "$@" --all-targets -- -D warnings
  else
    # Clippy's own lints aside, and without RUSTFLAGS, which would build every dependency anew.
    cargo clippy "$@" -- -A clippy::all -A clippy::pedantic -D warnings
  fi
}

offered -p segmenta-image
offered -p segmenta-image --features ndarray
offered -p segmenta-runtime --features ndarray
offered -p segmenta
offered -p segmenta --features ndarray
offered -p segmenta --features train
offered -p segmenta --features train,ndarray
offered -p segmenta-serve
offered -p segmenta-cli --no-default-features
offered -p segmenta-cli --no-default-features --features train
offered -p segmenta-cli --no-default-features --features serve
offered -p segmenta-cli

# Burn's code generator for CUDA downloads an LLVM while it is built. A check needs none of it, and says so to its
# build script as documentation builds do.
for gpu in cuda wgpu cuda,wgpu; do
  printf '\n-- GPUs: %s\n' "$gpu"
  # The command line's features turn on those of the library and of the training crate.
  DOCS_RS=1 cargo check -p segmenta-cli --features "$gpu"
done
