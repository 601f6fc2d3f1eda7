#!/usr/bin/env bash
# Kernels under Miri, the interpreter that sees a read or a write out of bounds, memory that was never written, a
# reference that aliases another: what of them it can run, which is the portable instruction set on small maps.
#
#   tools/miri.sh                       all of it
#   tools/miri.sh windows               tests whose names contain a word
#
# Needs a nightly toolchain, and says so where none can be had.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1 &&
  ! rustup toolchain install nightly --profile minimal --component miri --component rust-src >/dev/null 2>&1; then
  echo "skipped: no nightly toolchain with Miri can be had here"
  exit 0
fi
# The test of the table of entry points reads the sources; threads stay parked when a test ends; rayon's dependencies
# turn numbers into pointers and keep references to what others write to.
export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-ignore-leaks -Zmiri-tree-borrows -Zmiri-permissive-provenance"
RAYON_NUM_THREADS=1 cargo +nightly miri test -p segmenta-kernels --test misuse -- "$@"
