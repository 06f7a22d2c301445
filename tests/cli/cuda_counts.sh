#!/usr/bin/env bash
# A training step on a GPU becomes no dearer: graph nodes, warp instructions, bytes between L1 and L2, code, spills and registers of
# its kernels against tests/cuda/step_counts.json, counted by the virtual GPU and by ptxas for an H100. No time is measured or tested.
. "$(dirname "$0")/common.sh"
export CAFX_CONVOLUTIONS=cafx VGPU_TIME=h100 VGPU_ARCH=90 VGPU_TIME_KERNELS=0
count() {  # NAME PRESET PRECISION BATCH [OPTION...]
  local name=$1 file=$work/$1.json options=(--preset "$2" --precision "$3" --set "train.batch=$4" "${@:5}")
  VGPU_TIME_JSON=$file "$cafx" bench --device cuda --profile "${options[@]}" >"$work/out" 2>&1 || {
    grep -q "it can be used" <("$cafx" doctor 2>&1) || { echo "skipped: no GPU"; exit 77; }
    fail "$name: $(tail -3 "$work/out")"
  }
  [ -s "$file" ] || { echo "skipped: needs the virtual GPU and ptxas"; exit 77; }
  python3 "$root/experiments/kernels/predict.py" check "$root/tests/cuda/step_counts.json" "$name" "$file" || fail "$name"
}
count default-bf16-16 default bf16 16
count default-film-bf16-16 default bf16 16 --set 'model.knobs=["gain: 0..10"]'
count paper-bf16-32 paper bf16 32 --set model.unpool=hold
count paper-fp32-32 paper fp32 32 --set model.unpool=hold
finish
