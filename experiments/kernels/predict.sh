#!/usr/bin/env bash
# Prints the predicted times of kernels/BENCHMARKS.md: training steps of 512 and 32 frames of `paper`, and of 16 of `default`, in
# fp32 and bf16, as an H100 would take them by the model of the virtual GPU, whose folder is given. Measures nothing; needs nvcc's
# ptxas. The steps of 512 frames take the virtual GPU many minutes; PREDICT_BATCHES="32" leaves them out.
#   experiments/kernels/predict.sh VGPU_FOLDER [CAFX built by the preset cuda-virtual]
set -euo pipefail
cd "$(dirname "$0")/../.."
vgpu=$1 cafx=${2:-build/cuda-virtual/host/cafx}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CAFX_CONVOLUTIONS=cafx  # as on Hopper
steps=()
predict() {  # PRESET PRECISION BATCH
  local file=$work/$1.$2.$3.json options=(--preset "$1")
  [ "$1" != paper ] || options+=(--set model.unpool=hold)
  "$vgpu/vgpu-time" -g h100 -k 0 -o "$file" "$cafx" bench --device cuda --profile "${options[@]}" --precision "$2" --set train.batch="$3" >&2
  steps+=("\`$1\`:$2:$3:$file")
}
for precision in fp32 bf16; do predict default $precision 16; done
for batch in ${PREDICT_BATCHES:-32 512}; do
  for precision in fp32 bf16; do predict paper $precision "$batch"; done
done
"$cafx" info --preset paper --set model.unpool=hold --json >"$work/config.json"
python3 experiments/kernels/predict.py table "$work/config.json" "${steps[@]}"
