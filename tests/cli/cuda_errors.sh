#!/usr/bin/env bash
# What a GPU can do wrong, made so by a library that fails CUDA's calls ($3) and by the virtual GPU: exit code 2, one line
# that says what to do, and a checkpoint that goes on to the bits of a run that nothing happened to.
. "$(dirname "$0")/common.sh"
failing=$3
"$cafx" info --gpus >"$work/gpus" || fail "info --gpus"
if ! grep -q "it can be used" "$work/gpus"; then
  echo "skipped: $(tail -1 "$work/gpus")"
  exit 77
fi
short_notes
run=("${short[@]}" --set train.pretrain_epochs=1 --set train.epochs=3
  --set train.refine_epochs=0 --device cuda)
export CAFX_CHECKPOINT_SECONDS=0

# broken WHAT WORDS CALL:N:CODE COMMAND...: as `refuses`, with that call failing.
broken() {
  local what=$1 words=$2 how=$3
  shift 3
  refuses "$what" "$words" env LD_PRELOAD="$failing" CAFX_FAIL="$how" "$@"
}

# Before training: nothing is begun.
broken "no driver" "no NVIDIA driver is installed; use --device cpu" cudaGetDeviceCount:1:35 env CAFX_FAIL_DRIVER=0 \
  "$cafx" train "${run[@]}" --out "$work/none"
broken "an old driver" "runs CUDA up to 11.4 and this binary needs .*; update the driver" cudaGetDeviceCount:1:35 \
  env CAFX_FAIL_DRIVER=11040 "$cafx" train "${run[@]}" --out "$work/none"
broken "no GPU" "no NVIDIA GPU was found; use --device cpu" cudaGetDeviceCount:1:100 "$cafx" train "${run[@]}" --out "$work/none"
broken "no cuDNN" "cuDNN failed: .*cudnnCreate.*use --device cpu" cudnnCreate:1:1001 "$cafx" train "${run[@]}" --out "$work/none"
broken "no free memory" "the GPU has too little free memory: .*smaller --batch" cudaMalloc:8:2 "$cafx" train "${run[@]}" --out "$work/none2"
if [ -z "$(nvidia-smi -L 2>/dev/null)" ]; then
  VGPU_ARCH=75 "$cafx" train "${run[@]}" --out "$work/none" >/dev/null 2>"$work/err"
  [ $? = 2 ] || fail "another architecture: exit code"
  grep -v '^vgpu:' "$work/err" | grep -q "this binary holds code for .* and not for this GPU; build it on this machine" ||
    fail "another architecture: $(cat "$work/err")"
fi

# In the middle of training.
"$cafx" train "${run[@]}" --out "$work/whole" >/dev/null 2>"$work/err" || fail "training: $(cat "$work/err")"
middle() {
  rm -rf "$work/run"
  broken "$1" "$2" "$3" "$cafx" train "${run[@]}" --out "$work/run"
  "$cafx" resume "$work/run" --device cuda --quiet >/dev/null 2>"$work/err" || fail "$1: resume: $(cat "$work/err")"
  for file in best.safetensors metrics.csv result.json; do
    cmp "$work/whole/$file" "$work/run/$file" || fail "$1: $file differs after the resume"
  done
}
middle "a lost GPU" "the GPU failed: .*cafx resume.*the last checkpoint is safe" cudaGraphLaunch:7:719
middle "a lost GPU, seen later" "the GPU failed: .*cafx resume.*the last checkpoint is safe" cudaEventSynchronize:5:214
middle "no memory in the middle" "the GPU has too little free memory" cudaMalloc:34:2
export CAFX_CONVOLUTIONS=cudnn
rm -rf "$work/whole"
"$cafx" train "${run[@]}" --out "$work/whole" >/dev/null 2>"$work/err" || fail "training with cuDNN: $(cat "$work/err")"
middle "a cuDNN error" "cuDNN failed: .*cafx resume.*the last checkpoint is safe" cudnnConvolutionForward:4:5000
broken "a cuDNN error that is no refusal" "cuDNN failed: to plan a convolution" cudnnConvolutionForward:1:5000 \
  "$cafx" train "${run[@]}" --out "$work/none3"

# Algorithms of cuDNN that cannot be used: doctor, info and log say why; workspace is planned, and no more than its share.
refused="cudnnGetConvolutionBackwardDataAlgorithm_v7:1:3000"
data() {  # WHAT COMMAND...: cuDNN's algorithms for backward data are so
  local what=$1
  shift
  env LD_PRELOAD="$failing" $([ "$what" = refused ] && echo "CAFX_FAIL=$refused" || echo "CAFX_CUDNN_DATA=$what") "$@"
}
while read -r what words; do
  data "$what" "$cafx" doctor --preset paper --batch 3 >"$work/doctor" 2>"$work/err" || fail "doctor, $what: $(cat "$work/err")"
  grep -q "convolutions of the preset 'paper', 3 frames at a time" "$work/doctor" || fail "doctor does not say what it asked for"
  grep -q "backward data B=3 .*: $words" "$work/doctor" || fail "doctor, $what: '$words' is not in: $(cat "$work/doctor")"
done <<'CASES'
refused it refuses this shape
random algorithm 1 is not deterministic; algorithm 0 is not deterministic
9000 algorithm 1 needs 9000.0 MiB of workspace, over the limit of
CASES
"$cafx" doctor --preset paper --batch 3 | grep -q "has a deterministic way for all of the convolutions of the preset 'paper', 3 frames" ||
  fail "doctor does not say that cuDNN runs all"
data 90 "$cafx" doctor --preset paper --batch 3 --json | grep -q '"workspace_bytes": 94371840' || fail "doctor took no larger workspace"
memory=(info --preset paper --set train.batch=3 --device cuda)
data 90 "$cafx" "${memory[@]}" | grep -q "workspace of cuDNN's convolutions 90.0" || fail "info does not count the workspace"
data 9000 "$cafx" "${memory[@]}" | grep -q "workspace of" && fail "info counts a workspace over the limit"
data 90 "$cafx" train "${run[@]}" --out "$work/larger" >/dev/null 2>"$work/err" || fail "a larger workspace: $(cat "$work/err")"
grep -q "cuDNN runs the convolution backward data .* with 90.0 MiB of workspace" "$work/larger/log.txt" ||
  fail "a larger workspace: $(grep -i cudnn "$work/larger/log.txt")"
cmp "$work/whole/best.safetensors" "$work/larger/best.safetensors" || fail "a larger workspace changes bits"
data 9000 "$cafx" train "${run[@]}" --out "$work/ours" >/dev/null 2>"$work/err" || fail "too large a workspace: $(cat "$work/err")"
grep -q "no deterministic way for the convolution backward data .* over the limit of .*; cafx's own kernel takes over" "$work/ours/log.txt" ||
  fail "too large a workspace: $(grep -i cudnn "$work/ours/log.txt")"
unset CAFX_CONVOLUTIONS
if grep -q "can share a batch" <(VGPU_DEVICES=2 "$cafx" info --gpus); then
  VGPU_DEVICES=2 VGPU_TIMEOUT=2 LD_PRELOAD=$failing CAFX_FAIL=cudaGraphLaunch:8:719 \
    "$cafx" train "${run[@]}" --gpus 2 --out "$work/two" >/dev/null 2>"$work/err"
  [ $? = 2 ] || fail "one of two GPUs lost: exit code"
  [ "$(grep -v '^vgpu:' "$work/err" | grep -c "cafx: GPU [01]: the GPU failed: .*the last checkpoint is safe")" = 1 ] ||
    fail "one of two GPUs lost: $(cat "$work/err")"
  "$cafx" resume "$work/two" --device cuda --gpus 1 --quiet >/dev/null 2>"$work/err" || fail "two GPUs: resume: $(cat "$work/err")"
fi
finish
