#!/usr/bin/env bash
# Prints the tables of kernels/BENCHMARKS.md: what each CUDA kernel of a supervised step must move, does move, and what the
# compiler made of it, in fp32 and in bf16. Needs nvcc and the virtual GPU, whose folder is given; no GPU.
#   experiments/kernels/run.sh VGPU_FOLDER [CAFX built by the preset cuda-virtual] [BATCH]
set -euo pipefail
cd "$(dirname "$0")/../.."
vgpu=$1 cafx=${2:-build/cuda-virtual/host/cafx} batch=${3:-512}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CAFX_CONVOLUTIONS=cafx  # as on Hopper
options=(--preset paper --set model.unpool=hold)
small=32 large=64
for precision in fp32 bf16; do
  for counted in $small $large; do
    VGPU_PROFILE=$work/$precision.$counted.json "$vgpu/vgpu-run" "$cafx" bench --device cuda --profile "${options[@]}" \
      --precision $precision --set train.batch=$counted >&2
  done
done
"$cafx" info "${options[@]}" --json >"$work/config.json"
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
for source in front_end/front_end dnn_saaf/dnn_saaf dnn_saaf/dnn_saaf_mma local_dense/local_dense loss/loss frames/frames optimizer/optimizer \
  dense/dense deconv1d/deconv1d pointwise/pointwise conv1d/conv1d; do
  "$nvcc" -std=c++20 -O3 -arch=sm_90 -cubin --resource-usage --extended-lambda --expt-relaxed-constexpr -I. \
    -DFMT_USE_CONSTEXPR=1 -DFMT_CONSTEVAL= -DCAFX_HAS_CUDA -o "$work/x.cubin" "kernels/${source}_cuda.cu" 2>>"$work/resources.txt"
done
python3 experiments/kernels/table.py "$work/%s.%s.json" $small $large "$work/resources.txt" "$work/config.json" "$batch"
