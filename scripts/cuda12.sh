#!/usr/bin/env bash
# Lays a CUDA 12 toolkit into FOLDER and installs nothing: nvcc 12.4, its headers, runtime and cuBLAS from Debian 13's packages,
# cuDNN 9 and NCCL from NVIDIA's Python wheels. No root. 2.1 GB to load, 2 GB in FOLDER. For x86_64.
#
#   scripts/cuda12.sh FOLDER
#   PATH=FOLDER/bin:$PATH CAFX_CUDA=ON scripts/wheel.sh        with it, in Debian 12: the wheel for CUDA 12
#   cmake --preset cuda -DCAFX_NVCC=FOLDER/bin/nvcc
#
# It lies in Debian 12 and 13, and compiles in 12: nvcc 12.4 takes GCC up to 13, and a C library before 2.41, which has its sinpi.
# Whose packages: apt checks the release's signature against Debian's keys, and pip the wheels against the sums below.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
cannot() {
  echo "scripts/cuda12.sh: $*" >&2
  exit 1
}
mkdir -p "$(dirname "$1")"
folder=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
if [ -x "$folder/bin/nvcc" ]; then
  echo "$folder has a toolkit already"
  exit 0
fi
[ ! -e "$folder" ] || rmdir "$folder" 2>/dev/null || cannot "$folder is there and is not a toolkit; name another folder"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ "$(uname -m)" = x86_64 ] || cannot "the packages are those for x86_64"
for tool in apt-get dpkg-deb python3; do command -v $tool >/dev/null || cannot "$tool is needed"; done
[ -s "$keys" ] || cannot "Debian's keys are needed: apt-get install debian-archive-keyring"
python3 -c 'import ensurepip' 2>/dev/null || cannot "Python's venv is needed: apt-get install python3-venv"

# Whole or not there: what was loaded before an interruption is kept in FOLDER.part.
load=$folder.part/load new=$folder.part/toolkit
mkdir -p "$load"/{debs,apt/state/lists/partial,apt/cache/archives/partial,apt/parts}
# The mirror that this machine's own Debian comes from, where it is one; an apt of our own, with the machine's proxies.
mirror=$(apt-get indextargets --format '$(SITE)' 'Origin: Debian' 'Label: Debian' 2>/dev/null | head -1 || true)
echo "deb [arch=amd64 signed-by=$keys] ${mirror:-http://deb.debian.org/debian} trixie main non-free" >"$load/apt/sources.list"
ours=(-qq -o Dir::Etc::SourceList="$load/apt/sources.list" -o Dir::Etc::SourceParts="$load/apt/parts" -o Dir::State="$load/apt/state"
  -o Dir::State::status=/dev/null -o Dir::Cache="$load/apt/cache" -o APT::Architecture=amd64 -o APT::Architectures=amd64
  -o Acquire::AllowInsecureRepositories=false -o APT::Get::AllowUnauthenticated=false -o APT::Sandbox::User=root)
apt-get "${ours[@]}" update
(cd "$load/debs" && apt-get "${ours[@]}" download nvidia-cuda-toolkit nvidia-cuda-dev libcudart12 libcublas12 libcublaslt12 \
  libcu++-dev libcub-dev libthrust-dev)

# Old ones: what they declare, every later 9 and 2 has.
cat >"$load/wheels.txt" <<'SUMS'
nvidia-cudnn-cu12==9.1.0.70 --hash=sha256:165764f44ef8c61fcdfdfdbe769d687e06374059fbb388b6c89ecb0e28793a6f
nvidia-nccl-cu12==2.20.5 --hash=sha256:057f6bf9685f75215d0c53bf3ac4a10b3e6578351de307abad9e18a99182af56
SUMS
python3 -m venv "$load/venv"
"$load/venv/bin/pip" download -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r "$load/wheels.txt" -d "$load/wheels"

rm -rf "$load/root" "$new"
mkdir -p "$load/root" "$new"/{bin,nvvm/bin,lib64}
for deb in "$load"/debs/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$load/root" --exclude './usr/share' --exclude '*/libcu[bfrs]*_static*' --exclude '*/libn*_static*'
done
# The folders that nvcc expects of NVIDIA's own installation.
usr=$load/root/usr
rm "$usr/bin/nvcc" "$usr/bin/compute-sanitizer"  # a script and a link; the programs are elsewhere
mv "$usr"/bin/* "$usr"/lib/nvidia-cuda-toolkit/bin/{nvcc,crt} "$new/bin/"
mv "$usr/lib/nvidia-cuda-toolkit/bin/cicc" "$new/nvvm/bin/"
mv "$usr/lib/nvidia-cuda-toolkit/libdevice" "$new/nvvm/"
mv "$usr/include" "$new/include"
mv "$usr"/lib/x86_64-linux-gnu/lib{cudart,cudart_static,cublas,cublasLt,cudadevrt}[.]* "$new/lib64/"
for wheel in "$load"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$load/root"; done
for part in cudnn nccl; do
  rm -f "$load/root/nvidia/$part/include/__init__.py"
  mv "$load/root/nvidia/$part"/include/* "$new/include/"
  mv "$load/root/nvidia/$part"/lib/lib* "$new/lib64/"
done
ln -s libcudnn.so.9 "$new/lib64/libcudnn.so"
ln -s libnccl.so.2 "$new/lib64/libnccl.so"
cat >"$new/bin/nvcc.profile" <<'PROFILE'
TOP                = $(_HERE_)/..
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
PATH              += $(TOP)/nvvm/bin:$(_HERE_):
INCLUDES          += "-I$(TOP)/include" $(_SPACE_)
LIBRARIES         =+ $(_SPACE_) "-L$(TOP)/lib64"
PROFILE
mv "$new" "$folder"
rm -rf "$folder.part"
"$folder/bin/nvcc" --version | grep release
