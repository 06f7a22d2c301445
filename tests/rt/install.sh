#!/usr/bin/env bash
# install.sh CAFX ROOT BUILD PYTHON: `cmake --install`, then a project outside of the tree finds libcafx-rt by CMake and by
# pkg-config, and its output has the bits of `cafx render`.
. "$(dirname "$0")/../cli/common.sh"
build=$3 python=$4
cmake --install "$build" --component rt --prefix "$work/prefix" >"$work/out" 2>&1 || { cat "$work/out"; fail "cmake --install"; finish; }

# A model with random weights and a signal of its rate.
"$python" - "$root" "$work" <<'PY' || { echo "skipped: no python3 with numpy"; exit 77; }
import struct, sys
import numpy as np
sys.path.insert(0, sys.argv[1] + "/python")
x = (0.1 * np.random.default_rng(1).standard_normal(20000)).astype("<f4")
x.tofile(sys.argv[2] + "/in.f32")
data = x.tobytes()
open(sys.argv[2] + "/in.wav", "wb").write(
    b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 16000, 64000, 4, 32)
    + b"data" + struct.pack("<I", len(data)) + data)
PY
"$cafx" train "${small[@]}" --set train.pretrain_epochs=1 --set train.epochs=1 --set train.refine_epochs=0 --out "$work/run" \
  >/dev/null || fail "training"
"$cafx" export "$work/run" -o "$work/model.safetensors" >/dev/null || fail "export"
"$cafx" render "$work/model.safetensors" "$work/in.wav" "$work/out.wav" --hop 64 --quiet >/dev/null || fail "render"

as_raw() { # the samples of a float WAV
  "$python" - "$1" <<'PY'
import struct, sys
b = open(sys.argv[1], "rb").read()
at = 12
while b[at:at + 4] != b"data":
    at += 8 + struct.unpack("<I", b[at + 4:at + 8])[0]
sys.stdout.buffer.write(b[at + 8:at + 8 + struct.unpack("<I", b[at + 4:at + 8])[0]])
PY
}
as_raw "$work/out.wav" >"$work/rendered.f32"

plays() { # WHAT PROGRAM
  "$2" "$work/model.safetensors" 16000 64 <"$work/in.f32" >"$work/played.f32" || fail "$1: does not run"
  [ -s "$work/played.f32" ] && cmp -s "$work/played.f32" "$work/rendered.f32" || fail "$1: not the bits of cafx render"
  "$2" /nowhere 16000 </dev/null 2>"$work/err"
  [ $? = 2 ] && grep -q "there is no such file" "$work/err" || fail "$1: a missing model is not refused"
}

mkdir "$work/outside" && cp "$root"/rt/examples/* "$work/outside"
{ CMAKE_GENERATOR=Ninja cmake -S "$work/outside" -B "$work/outside/build" -DCMAKE_PREFIX_PATH="$work/prefix" &&
  cmake --build "$work/outside/build"; } >"$work/out" 2>&1 || { cat "$work/out"; fail "CMake project"; }
plays "CMake" "$work/outside/build/play"

pc=$(dirname "$(find "$work/prefix" -name cafx-rt.pc)")
flags=$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs 'cafx-rt >= 1.0') || fail "pkg-config"
libdir=$(PKG_CONFIG_PATH=$pc pkg-config --variable=libdir cafx-rt)
cc -std=c99 -Wall -Wextra -Werror -pedantic "$root/rt/examples/play.c" $flags -Wl,-rpath,"$libdir" -o "$work/play" || fail "pkg-config: cc"
plays "pkg-config" "$work/play"

# Nothing but the interface is seen from outside.
seen=$(nm -D --defined-only "$libdir/libcafx-rt.so" | awk '{print $3}' | grep -v '^cafx_rt_\|^CAFX_RT_1' || true)
[ -z "$seen" ] || fail "names seen from outside: $seen"
finish
