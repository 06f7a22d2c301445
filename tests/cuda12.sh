#!/usr/bin/env bash
# The CUDA backend with CUDA 12: nvcc 12.4 and its libraries from Debian's packages, unpacked into build/cuda12 and installed
# nowhere. Builds the kernels for all architectures of the preset `release` that this toolkit has, then the GPU tests, and runs
# these on the virtual GPU, built with the same headers. Exit code 77: skipped, with the reason. 1.3 GB to load the first time,
# half an hour on two threads.
#
#   VGPU=FOLDER tests/cuda12.sh     FOLDER: sources of the virtual GPU; without, ../shared/vgpu, or nothing is run
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
suite=trixie work=$root/build/cuda12
toolkit=$work/toolkit
skip() {
  echo "skipped: $*"
  exit 77
}
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || skip "the packages are Debian's for amd64"
for tool in curl xz sha256sum; do command -v $tool >/dev/null || skip "$tool is not installed"; done
mkdir -p "$work/debs"

# get PART PACKAGE...: the packages of that part of the suite, checked, into $work/debs.
get() {
  local part=$1 name file sum
  shift
  [ -s "$work/$part.list" ] || {
    curl -fsSL "$mirror/dists/$suite/$part/binary-amd64/Packages.xz" | xz -d >"$work/$part.new"
    mv "$work/$part.new" "$work/$part.list"
  }
  for name in "$@"; do
    read -r file sum < <(awk -v name="$name" '
      $1 == "Package:" { mine = $2 == name }
      mine && $1 == "Filename:" { file = $2 }
      mine && $1 == "SHA256:" { print file, $2; exit }' "$work/$part.list")
    [ -n "${sum:-}" ] || skip "$suite has no package $name any more"
    [ -f "$work/debs/$name.deb" ] || curl -fsSL -o "$work/debs/$name.deb" "$mirror/$file" || skip "$name could not be loaded"
    echo "$sum  $work/debs/$name.deb" | sha256sum -c --quiet || { rm -f "$work/debs/$name.deb"; return 1; }
  done
}
if [ ! -f "$toolkit/bin/nvcc.profile" ]; then  # written last
  # Of the mirrors that this machine itself uses, one that has the suite.
  mirror=
  for site in $(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | sort -u); do
    curl -fsIL --max-time 20 "$site/dists/$suite/non-free/binary-amd64/Packages.xz" >/dev/null 2>&1 && mirror=$site && break
  done
  [ -n "$mirror" ] || skip "none of apt's sources has $suite"
  get non-free nvidia-cuda-toolkit nvidia-cuda-dev libcudart12 libcublas12 libcublaslt12
  get main libcu++-dev libcub-dev libthrust-dev
  rm -rf "$work/root" "$toolkit"
  mkdir -p "$work/root" "$toolkit"/{bin,nvvm/bin,lib64}
  for deb in "$work"/debs/*.deb; do
    dpkg --fsys-tarfile "$deb" | tar -x -C "$work/root" --exclude './usr/share' --exclude '*/nvdisasm' \
      --exclude '*/libcu[bfrs]*_static*' --exclude '*/libn*_static*'
  done
  # The folders that nvcc expects of NVIDIA's own installation.
  usr=$work/root/usr
  rm "$usr/bin/nvcc"  # a script; the program is elsewhere
  mv "$usr"/bin/* "$usr"/lib/nvidia-cuda-toolkit/bin/{nvcc,crt} "$toolkit/bin/"
  mv "$usr/lib/nvidia-cuda-toolkit/bin/cicc" "$toolkit/nvvm/bin/"
  mv "$usr/lib/nvidia-cuda-toolkit/libdevice" "$toolkit/nvvm/"
  mv "$usr/include" "$toolkit/include"
  mv "$usr"/lib/x86_64-linux-gnu/lib{cudart,cublas,cublasLt,cudadevrt}[.]* "$toolkit/lib64/"
  rm -rf "$work/root"
  cat >"$toolkit/bin/nvcc.profile" <<'PROFILE'
TOP                = $(_HERE_)/..
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
PATH              += $(TOP)/nvvm/bin:$(_HERE_):
INCLUDES          += "-I$(TOP)/include" $(_SPACE_)
LIBRARIES         =+ $(_SPACE_) "-L$(TOP)/lib64"
PROFILE
fi
"$toolkit/bin/nvcc" --version | grep release

# cuDNN and NCCL serve any CUDA: the ones that are installed.
system=$(dirname "$(dirname "$(readlink -f "$(PATH=$PATH:/usr/local/cuda/bin command -v nvcc)")")") || skip "no CUDA is installed, whose cuDNN could be taken"
for place in "${CUDNN_HOME:-}" "$system" /usr; do
  [ -n "$place" ] && [ -f "$place/include/cudnn.h" ] && cudnn=$place && break
done
library=$(ls "${cudnn:-/none}"/lib64/libcudnn.so "${cudnn:-/none}"/lib/libcudnn.so "${cudnn:-/none}"/lib/*/libcudnn.so 2>/dev/null | head -1 || true)
[ -n "$library" ] || skip "no cuDNN is installed"
ln -sf "$cudnn"/include/cudnn*.h "$toolkit/include/"
[ ! -f "$cudnn/include/nccl.h" ] || ln -sf "$cudnn"/include/nccl*.h "$toolkit/include/"  # the virtual GPU has NCCL where this is
ln -sf "$(dirname "$library")"/libcudnn.so* "$(dirname "$library")"/libnccl.so* "$toolkit/lib64/" 2>/dev/null || true

configure=(-DCAFX_CUDA=ON "-DCAFX_NVCC=$toolkit/bin/nvcc" "-DCAFX_CUDNN_INCLUDE=$toolkit/include" "-DCAFX_CUDNN_LIBRARY=$toolkit/lib64/libcudnn.so")
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
