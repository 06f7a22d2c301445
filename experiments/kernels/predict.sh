#!/usr/bin/env bash
# Prints the predicted times of kernels/BENCHMARKS.md: training steps of 32 and 512 frames of `paper`, and of 16 of `default`, in
# fp32 and bf16, as an H100 would take them by the model of the virtual GPU, whose folder is given. Measures nothing; needs nvcc's
# ptxas. A step of 512 frames is told from steps of 64 and 128; half an hour on two idle threads.
#   experiments/kernels/predict.sh VGPU_FOLDER [CAFX built by the preset cuda-virtual]
set -euo pipefail
cd "$(dirname "$0")/../.."
vgpu=$1 cafx=${2:-build/cuda-virtual/host/cafx}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CAFX_CONVOLUTIONS=cafx  # as on Hopper
export VGPU_TIMEOUT=36000
predict() {  # PRESET PRECISION BATCH
  local options=(--preset "$1")
  [ "$1" != paper ] || options+=(--set model.unpool=hold)
  "$vgpu/vgpu-time" -g h100 -k 0 -o "$work/$1.$2.$3.json" "$cafx" bench --device cuda --profile "${options[@]}" --precision "$2" \
    --set train.batch="$3" >&2
}
steps=()
for precision in fp32 bf16; do
  predict default $precision 16
  for batch in 32 64 128; do predict paper $precision $batch; done
  steps+=("\`default\`:$precision:16:$work/default.$precision.16.json" "\`paper\`:$precision:32:$work/paper.$precision.32.json"
    "\`paper\`:$precision:512:64=$work/paper.$precision.64.json,128=$work/paper.$precision.128.json")
done
"$cafx" info --preset paper --set model.unpool=hold --json >"$work/config.json"
python3 experiments/kernels/predict.py table "$work/config.json" "${steps[@]}"
