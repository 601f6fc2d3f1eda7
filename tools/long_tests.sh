#!/usr/bin/env bash
# Property tests for a night: each with many times the cases of the suite, drawn from a seed that no run had before.
#
#   tools/long_tests.sh                                 every crate that has properties, 200 times the cases
#   TIMES=20 tools/long_tests.sh -p segmenta-kernels pool
#   SEED=… tools/long_tests.sh                          the cases of an earlier run again
#
# Arguments go to `cargo test`. Kernels are tested on every instruction set that the processor has. The seed is said
# first and last.
set -euo pipefail
cd "$(dirname "$0")/.."

seed=${SEED:-$(od -An -N7 -tu8 /dev/urandom | tr -d ' ')}
times=${TIMES:-200}
if [ $# -eq 0 ]; then
  for manifest in $(grep -l '^segmenta-properties' crates/*/Cargo.toml); do
    set -- "$@" -p "$(basename "$(dirname "$manifest")")"
  done
fi

say() { echo "seed $seed, $times times the cases: $1"; }
say "the same again is SEED=$seed TIMES=$times tools/long_tests.sh"
status=0
SEGMENTA_SEED=$seed SEGMENTA_CASES=$times cargo test --release --no-fail-fast "$@" || status=$?
if [ "$status" -eq 0 ]; then say "passed after $SECONDS s"; else say "FAILED after $SECONDS s"; fi
exit "$status"
