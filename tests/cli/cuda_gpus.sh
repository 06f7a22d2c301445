#!/usr/bin/env bash
# Several GPUs by the command line, for CAFx and for models that play sample by sample: --gpus, resume under another number of them,
# what is refused.
. "$(dirname "$0")/common.sh"
export VGPU_DEVICES=4
"$cafx" info --gpus >"$work/gpus" || fail "info --gpus"
n=$(grep -c "it can be used" "$work/gpus")
if [ "$n" -lt 2 ]; then
  echo "skipped: fewer than two GPUs: $(tail -1 "$work/gpus")"
  exit 77
fi
if ! grep -q "Several GPUs can share a batch" "$work/gpus"; then
  refuses "several GPUs without NCCL" "use --gpus 1" "$cafx" train "${small[@]}" --device cuda --gpus 2 --out "$work/none"
  echo "skipped: $(tail -1 "$work/gpus")"
  exit 77
fi

# The numbers of metrics.csv in two runs: equal but for rounding.
near() {
  paste -d, "$1/metrics.csv" "$2/metrics.csv" | awk -F, '
    NR == 1 { for (i = 1; i <= NF / 2; ++i) if ($i ~ /^(training|validation)_(mae|loss|esr)$/) at[++k] = i; next }
    { for (j = 1; j <= k; ++j) { a = $at[j]; b = $(at[j] + NF / 2); d = a - b; if (d < 0) d = -d; if (!(d <= 2e-3 * a)) bad = 1 } }
    END { exit bad || k < 2 || NR < 4 }'
}

# shares NAME RUN...: what a training on several GPUs is held to.
shares() {
  local name=$1 gpus file begun seen pid code
  shift
  local run=("$@") at="$work/$name"
  mkdir "$at"
  for gpus in 1 2 4; do
    "$cafx" train "${run[@]}" --device cuda --gpus $gpus --out "$at/on$gpus" >/dev/null 2>"$work/err" || fail "$name, $gpus GPUs: $(cat "$work/err")"
  done
  "$cafx" train "${run[@]}" --device cuda --gpus 2 --out "$at/again" >/dev/null 2>&1 || fail "$name, 2 GPUs again"
  for file in best.safetensors metrics.csv result.json; do
    cmp "$at/on2/$file" "$at/again/$file" || fail "$name, a second run on 2 GPUs: $file differs"
  done
  for gpus in 2 4; do
    near "$at/on1" "$at/on$gpus" || fail "$name, $gpus GPUs differ from one: $(cat "$at/on1/metrics.csv" "$at/on$gpus/metrics.csv")"
  done
  [ "$(grep '"run_hash"' "$at/on1/result.json")" = "$(grep '"run_hash"' "$at/on4/result.json")" ] ||
    fail "$name: the number of GPUs changes the run's hash"

  # Stopped on two, resumed on three, stopped, resumed on one: the run goes on, and says that the bits will differ.
  export CAFX_CHECKPOINT_SECONDS=0
  local command=(train "${run[@]}" --device cuda --gpus 2 --out "$at/moved")
  begun=0
  for gpus in 0,2,3 1; do
    "$cafx" "${command[@]}" >/dev/null 2>"$work/err" &
    pid=$!
    for _ in $(seq 2000); do  # until its first step begins, or goes on
      seen=$(grep -cE 'resumed|parameters' "$at/moved/log.txt" 2>/dev/null)
      [ "${seen:-0}" -gt $begun ] && break
      sleep 0.01
    done
    begun=$seen
    kill -INT $pid 2>/dev/null
    wait $pid
    code=$?
    [ $code = 130 ] || [ $code = 0 ] || fail "$name, stopped: exit code $code: $(cat "$work/err")"
    command=(resume "$at/moved" --device cuda --gpus $gpus --quiet)
  done
  unset CAFX_CHECKPOINT_SECONDS
  "$cafx" "${command[@]}" >/dev/null 2>"$work/err" || fail "$name, the last resume: $(cat "$work/err")"
  [ "$(grep -c "the bits will differ" "$at/moved/log.txt")" = 2 ] || fail "$name, not resumed twice: $(cat "$at/moved/log.txt")"
  near "$at/on1" "$at/moved" || fail "$name, a run that moved from 2 to 3 to 1 GPUs differs: $(cat "$at/moved/metrics.csv")"
}

# Stopped on two and resumed on two: the bits of a run that nothing stopped.
goes_on() {
  local name=$1 file pid
  shift
  CAFX_CHECKPOINT_SECONDS=0 "$cafx" train "$@" --device cuda --gpus 2 --out "$work/$name/killed" >/dev/null 2>"$work/err" &
  pid=$!
  for _ in $(seq 2000); do
    [ -f "$work/$name/killed/checkpoint.safetensors" ] && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.01
  done
  kill -9 $pid 2>/dev/null
  wait $pid 2>/dev/null
  "$cafx" resume "$work/$name/killed" --device cuda --gpus 2 --quiet >/dev/null 2>"$work/err" || fail "$name, resume: $(cat "$work/err")"
  for file in best.safetensors metrics.csv result.json; do
    cmp "$work/$name/on2/$file" "$work/$name/killed/$file" || fail "$name, killed and resumed on 2 GPUs: $file differs"
  done
}

short_notes  # of an epoch's three steps the last has a smaller batch
run=("${short[@]}" --set train.clip_norm=1 --set train.pretrain_epochs=1
  --set train.epochs=2 --set train.refine_epochs=0)
shares cafx "${run[@]}"
goes_on cafx "${run[@]}"
stream=("$work/dry" "$work/wet" --set model.sample_rate=8000 --set train.segment_seconds=0.03 --set train.burn_in=64 --set train.batch=4
  --set train.epochs=3 --quiet)
lstm=("${stream[@]}" --preset lstm-nano --set train.block=100)
wavenet=("${stream[@]}" --preset wavenet-nano)
s4=("${stream[@]}" --preset s4-tf-s --set model.blocks=2 --set model.channels=5 --set train.block=128)
for name in lstm wavenet s4; do
  declare -n of_type=$name
  shares $name "${of_type[@]}"
  goes_on $name "${of_type[@]}"
done

"$cafx" info --preset paper --gpus 2 >"$work/info" || fail "info --gpus 2"
grep -q "shared by 2 GPUs" "$work/info" || fail "info --gpus 2: $(cat "$work/info")"
refuses "more GPUs than there are" "there are" "$cafx" train "${run[@]}" --device cuda --gpus 99 --out "$work/none"
refuses "a word for a number" "expected a number of GPUs" "$cafx" train "${run[@]}" --device cuda --gpus two --out "$work/none"
refuses "GPUs for the CPU" "--device cuda" "$cafx" train "${run[@]}" --device cpu --gpus 2 --out "$work/none"
[ -e "$work/none" ] && fail "a refused run left its folder"
if [ -z "$(nvidia-smi -L 2>/dev/null)" ]; then
  VGPU_DEVICES=1 refuses "two GPUs where there is one" "there is 1 GPU" "$cafx" train "${run[@]}" --gpus 2 --out "$work/none"
  VGPU_DEVICES=2 CUDA_VISIBLE_DEVICES=1 refuses "a GPU that is hidden" "there is 1 GPU" "$cafx" train "${run[@]}" --gpus 2 --out "$work/none"
fi
finish
