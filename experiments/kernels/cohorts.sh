#!/usr/bin/env bash
# Prints what a step of K models side by side takes, as an H100 would by the model of the virtual GPU, beside K steps one after the
# other. Measures nothing; needs nvcc's ptxas. Some minutes for the sizes of 32.
#   experiments/kernels/cohorts.sh VGPU_FOLDER CAFX 'OPTIONS OF CAFX BENCH' K...
#   experiments/kernels/cohorts.sh vgpu build/cuda-virtual/host/cafx '--preset default --precision bf16 --set train.batch=16' 1 8 32
set -euo pipefail
vgpu=$1 cafx=$2 options=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CAFX_CONVOLUTIONS=cafx VGPU_ARCH=90 VGPU_TIMEOUT=36000
alone=
echo "| models | predicted us a step | nodes | to one after the other |"
echo "| --- | --- | --- | --- |"
for members in "$@"; do
  # shellcheck disable=SC2086  # several options
  "$vgpu/vgpu-time" -g h100 -k 0 -o "$work/step.json" "$cafx" bench --device cuda --profile --cohort "$members" $options >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
  read -r nodes took < <(sed -n 's/^graph of \([0-9]*\) nodes.*: \([0-9.]*\) us, of which.*/\1 \2/p' "$work/log" | tail -1)
  [ -n "$alone" ] || alone=$(echo "$took $members" | awk '{ print $1 / $2 }')
  echo "$members $took $nodes $alone" | awk '{ printf "| %d | %.0f | %d | %.1f |\n", $1, $2, $3, $1 * $4 / $2 }'
done
