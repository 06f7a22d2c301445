#!/usr/bin/env bash
# What tf32, bf16 and fp16 do to the final error: the same short training in each precision, two seeds, ESR of the two notes kept
# for the test, rendered in fp32. A CPU emulates them by rounding operands, except bf16 if it has units; on a virtual GPU only
# cafx's own kernels round, and the table notes it. Prints the table of kernels/BENCHMARKS.md. DEVICE: cpu, cuda, cuda:1.
# CAFX_HOP: hop of the rendering (default 512). CAFX_SEEDS: default 1 and 2.
#   experiments/precision/run.sh [CAFX] [DEVICE] [EPOCHS] [OPTION of cafx train...]
set -euo pipefail
cd "$(dirname "$0")/../.."
cafx=${1:-build/quickstart/host/cafx} device=${2:-cpu} epochs=${3:-14}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
units=$("$cafx" bench --json --seconds 0.4 --device cpu | python3 -c 'import json, sys; print(json.load(sys.stdin)["bf16_units"])')
where=$device
[ "$device" = cpu ] || ! "$cafx" doctor | grep -q "CPU emulation" || where="a virtual GPU, whose libraries compute in fp32"
how() {  # PRECISION: how it was computed
  case $device,$1,$units in
    cpu,fp32,*) echo fp32 ;;
    cpu,bf16,True) echo "bf16, by units" ;;
    cpu,*) echo "$1, emulated" ;;
    *) echo "$1 on $where" ;;
  esac
}
echo "| precision | seed | ESR G61-55400 | ESR G71-55400 | MAE |"
echo "| --- | --- | --- | --- | --- |"
for seed in ${CAFX_SEEDS:-1 2}; do
  for precision in fp32 tf32 bf16 fp16; do
    "$cafx" train --config experiments/quickstart/quickstart.toml --set train.pretrain_epochs=2 --set train.epochs="$epochs" \
      --set train.refine_epochs=0 --set train.seed=$seed --precision $precision --device "$device" --quiet "${@:4}" --out "$work/run" >/dev/null
    "$cafx" eval "$work/run" --hop "${CAFX_HOP:-512}" --device "$device" --csv - >"$work/eval.csv"
    python3 - "$work/eval.csv" "$(how $precision)" $seed <<'P'
import csv, sys
rows = [r for r in csv.DictReader(open(sys.argv[1]))]
mae = sum(float(r["mae"]) for r in rows) / len(rows)
print(f"| {sys.argv[2]} | {sys.argv[3]} | " + " | ".join(f"{float(r['esr']):.5f}" for r in rows) + f" | {mae:.5f} |", flush=True)
P
    rm -rf "$work/run"
  done
done
