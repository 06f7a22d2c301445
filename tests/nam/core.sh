#!/usr/bin/env bash
# core.sh WRITE_CASES GOLDEN [--write]: NeuralAmpModelerCore, built from the checkout that CAFX_NAM_CORE names, plays every
# case; its output is that of the golden file, or becomes it. Needs libeigen3-dev and nlohmann-json3-dev. Two minutes.
# Exit code 77: skipped, with the reason.
set -euo pipefail
write_cases=$1 golden=$2 write=${3:-}
core=${CAFX_NAM_CORE:-}
skip() {
  echo "skipped: $*"
  exit 77
}
[ -n "$core" ] || skip "CAFX_NAM_CORE names no checkout of NeuralAmpModelerCore"
[ -f "$core/NAM/get_dsp.h" ] || skip "$core holds no NAM/get_dsp.h"
eigen=${CAFX_EIGEN:-/usr/include/eigen3}
[ -d "$eigen/Eigen" ] || skip "no Eigen in $eigen (libeigen3-dev)"
python=/usr/bin/python3
"$python" -c 'import numpy' 2>/dev/null || skip "no python3 with numpy"
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ls "$core"/NAM/*.cpp "$core"/NAM/*/*.cpp "$here/play.cpp" | xargs -P "$(nproc)" -I{} sh -c \
  'g++ -std=c++20 -O2 -w -I"$1" -I"$1/NAM" -isystem "$2" -I"$1/Dependencies/nlohmann" -c "$3" -o "$4/$(echo "$3" | tr / _).o"' \
  sh "$core" "$eigen" {} "$work"
g++ "$work"/*.o -o "$work/play"
"$write_cases" "$work"
for model in "$work"/*.nam; do
  "$work/play" "$model" "$work/x.f32" "${model%.nam}.out" >"$work/rate" || { echo "FAILED: $model is not played"; exit 1; }
  [ "$(cat "$work/rate")" = 16000 ] || { echo "FAILED: $model has the rate $(cat "$work/rate")"; exit 1; }
done
"$python" "$here/compare.py" "$work" "$golden" $write
