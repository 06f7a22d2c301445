#!/usr/bin/env bash
# cafx beside Debian's python3-torch: the supervised training step of one preset, same batch, same number of threads, in turn.
#   experiments/bench/compare.sh [CAFX] [PRESET] [ROUNDS] [SECONDS A ROUND]
set -euo pipefail
cd "$(dirname "$0")/../.."
cafx=${1:-build/cpu/host/cafx} preset=${2:-paper} rounds=${3:-3} seconds=${4:-20} threads=2 batch=32
python=/usr/bin/python3
"$python" -c 'import torch' 2>/dev/null || { echo "skipped: PyTorch is not installed (python3-torch)"; exit 0; }
for name in OPENBLAS_CORETYPE OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS; do
  [ -z "${!name:-}" ] || echo "note: $name=${!name} was set and would slow the peer; it is unset here"
  unset $name
done
set_options=(--preset "$preset" --set model.unpool=hold --set train.batch=$batch)
config=$("$cafx" info "${set_options[@]}" --json | "$python" -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["config"]))')
results=$(mktemp)
trap 'rm -f "$results"' EXIT
for round in $(seq "$rounds"); do
  "$cafx" bench "${set_options[@]}" --threads $threads --seconds "$seconds" --json | tr -d '\n' >>"$results"
  echo >>"$results"
  "$python" experiments/bench/torch_cafx.py "$config" $batch $threads "$seconds" >>"$results"
done
"$python" - "$results" "$preset" "$batch" "$threads" <<'P'
import json, statistics, sys
lines = [json.loads(l) for l in open(sys.argv[1])]
ours, theirs = lines[0::2], lines[1::2]
print(f"preset {sys.argv[2]} with hold, batch {sys.argv[3]}, {sys.argv[4]} threads, supervised training step, frames per second")
print("round    cafx   PyTorch   ratio   of this machine's FMA peak")
for i, (a, b) in enumerate(zip(ours, theirs), 1):
    x, y = a["train"]["frames_per_second"], b["frames_per_second"]
    print(f"{i:5d} {x:7.1f} {y:9.1f} {x / y:7.1f}   {100 * a['train']['of_peak']:.0f} % of {a['fma_peak_gflops']:.0f} GFLOP/s")
ratio = statistics.median(a["train"]["frames_per_second"] / b["frames_per_second"] for a, b in zip(ours, theirs))
print(f"median ratio {ratio:.1f}   (PyTorch {theirs[0]['torch']}, dense layers as {theirs[0]['dnn_as']}, {theirs[0]['threads']} threads, environment {theirs[0]['environment']})")
P
