#!/usr/bin/env bash
# The CUDA backend with CUDA 12: nvcc 12.4 and its libraries, laid into build/cuda12 by scripts/cuda12.sh and installed nowhere.
# Builds the kernels for all architectures of the preset `release` that this toolkit has, then the GPU tests, and runs these on the
# virtual GPU, built with the same headers. Exit code 77: skipped, with the reason. 2.1 GB to load the first time, half an hour on
# two threads.
#
#   VGPU=FOLDER tests/cuda12.sh     FOLDER: sources of the virtual GPU; without, ../shared/vgpu, or nothing is run
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
work=$root/build/cuda12
toolkit=$work/toolkit
skip() {
  echo "skipped: $*"
  exit 77
}
scripts/cuda12.sh "$toolkit" || skip "no toolkit"

configure=(-DCAFX_CUDA=ON -DCAFX_WERROR=ON "-DCAFX_NVCC=$toolkit/bin/nvcc")
echo "== every architecture of the preset release that it has"
cmake --preset release -B build/cuda12/release -DCAFX_ISA=NATIVE "${configure[@]}" | grep "CUDA backend"
cmake --build build/cuda12/release --target cafx_kernels
library=build/cuda12/release/kernels/libcafx_kernels.a
{ "$toolkit/bin/cuobjdump" --list-elf $library && "$toolkit/bin/cuobjdump" --list-ptx $library; } >"$work/code"
for code in sm_75.cubin sm_80.cubin sm_86.cubin sm_89.cubin sm_90.cubin sm_90.ptx; do
  grep -q "$code" "$work/code" || { echo "FAILED: no $code in cafx"; exit 1; }
done
echo "code in cafx: $(grep -oE 'sm_[0-9]+\.(cubin|ptx)' "$work/code" | sort -u | xargs)"

echo "== GPU tests"
cmake --preset cuda-virtual -B build/cuda12/tests "${configure[@]}" >/dev/null
cmake --build build/cuda12/tests --target gpu_tests
vgpu=${VGPU:-../shared/vgpu}
[ -d "$vgpu/src" ] || skip "built; without the virtual GPU nothing was run"
mkdir -p "$work/vgpu"
cp -r "$vgpu"/{Makefile,src,vgpu-run} "$work/vgpu/"
# What it is asked for here carries the number 12; four functions have another signature there, and cafx calls none of them.
sed -i 's/\.so\.13/.so.12/g' "$work/vgpu/Makefile" "$work/vgpu/vgpu-run"
sed -i 's/so\.13/so.12/g; s/\b13000;/12040;/; s/\b130000;/120400;/' "$work"/vgpu/src/*.cpp
sed -i -e '/^API cudaError_t \(cudaMemAdvise\|cudaMemPrefetchAsync\|cudaGraphAddDependencies\)(/d' \
  -e '/^API cudaError_t cudaStreamGetCaptureInfo(/,/^}/d' "$work/vgpu/src/rt.cpp"
make -s -C "$work/vgpu" "CUDA_HOME=$toolkit" >/dev/null
"$work/vgpu/vgpu-run" build/cuda12/tests/host/cafx doctor
"$work/vgpu/vgpu-run" ctest --test-dir build/cuda12/tests -L gpu --output-on-failure
