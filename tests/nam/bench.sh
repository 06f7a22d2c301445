#!/usr/bin/env bash
# bench.sh CAFX [ARGUMENTS]: `cafx bench --realtime` beside NeuralAmpModelerCore on the same .nam files, in alternating runs. The
# peer is built from the checkout that CAFX_NAM_CORE names, as its own release build is (-Ofast). Needs
# libeigen3-dev and nlohmann-json3-dev; CAFX_NAM_FLAGS replaces the flags, for one with -march=native.
set -euo pipefail
cafx=$1
shift
core=${CAFX_NAM_CORE:?names no checkout of NeuralAmpModelerCore}
eigen=${CAFX_EIGEN:-/usr/include/eigen3}
flags=${CAFX_NAM_FLAGS:--Ofast -DNDEBUG}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ls "$core"/NAM/*.cpp "$core"/NAM/*/*.cpp "$here/bench.cpp" | xargs -P "$(nproc)" -I{} sh -c \
  'g++ -std=c++20 $5 -w -I"$1" -I"$1/NAM" -isystem "$2" -I"$1/Dependencies/nlohmann" -c "$3" -o "$4/$(echo "$3" | tr / _).o"' \
  sh "$core" "$eigen" {} "$work" "$flags"
g++ "$work"/*.o -o "$work/bench"
"$cafx" bench --realtime --peer "$work/bench" "$@"
