#!/usr/bin/env bash
# cafx beside PyTorch, JAX and TensorFlow, whichever is importable: the same model, weights and batch, the same threads, in turn.
#   experiments/bench/compare.sh [--preset paper] [--batch 32] [--threads 2] [--rounds 5] [--seconds 4]
#                                [--python FILE]... [--only train,pretrain,render] [--out compare] [--cafx FILE] [--lock FILE]...
#
# Every interpreter is tried with every framework: /usr/bin/python3 (Debian's python3-torch), python3, and each --python (a
# virtual environment's). Each peer must reproduce cafx's loss (1e-4) in each of its variants: channels first or last, compiled
# if possible (bench/peers/). The fastest variant is compared. Variables that steer or slow a peer's libraries are unset and printed.
# Prints each peer and the medians of the alternating rounds; writes OUT.json and, where gnuplot is, OUT.svg. About three
# minutes for a peer to try its ways, then a minute a round. --lock: on a machine that others use, hold this file's lock in
# each round, of several in their order; the last one is shared while the peers try their ways.
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")/../.."
if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$self"
  exit 0
fi
exec python3 experiments/bench/compare.py "$@"
