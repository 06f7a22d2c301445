#!/usr/bin/env bash
# Several GPUs by the command line: --gpus, resume under another number of them, what is refused.
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
    NR == 1 { for (i = 1; i <= NF / 2; ++i) if ($i == "training_mae" || $i == "validation_mae") at[++k] = i; next }
    { for (j = 1; j <= k; ++j) { a = $at[j]; b = $(at[j] + NF / 2); d = a - b; if (d < 0) d = -d; if (!(d <= 2e-3 * a)) bad = 1 } }
    END { exit bad || k < 1 || NR < 4 }'
}
short_notes  # of an epoch's three steps the last has a smaller batch
run=("${short[@]}" --set train.clip_norm=1 --set train.pretrain_epochs=1
  --set train.epochs=2 --set train.refine_epochs=0)
for gpus in 1 2 4; do
  "$cafx" train "${run[@]}" --device cuda --gpus $gpus --out "$work/on$gpus" >/dev/null 2>"$work/err" || fail "$gpus GPUs: $(cat "$work/err")"
done
"$cafx" train "${run[@]}" --device cuda --gpus 2 --out "$work/again" >/dev/null 2>&1 || fail "2 GPUs again"
for file in best.safetensors metrics.csv result.json; do
  cmp "$work/on2/$file" "$work/again/$file" || fail "a second run on 2 GPUs: $file differs"
done
for gpus in 2 4; do
  near "$work/on1" "$work/on$gpus" || fail "$gpus GPUs differ from one: $(cat "$work/on1/metrics.csv" "$work/on$gpus/metrics.csv")"
done
[ "$(grep '"run_hash"' "$work/on1/result.json")" = "$(grep '"run_hash"' "$work/on4/result.json")" ] ||
  fail "the number of GPUs changes the run's hash"

# Stopped on two, resumed on three, stopped, resumed on one: the run goes on, and says that the bits will differ.
export CAFX_CHECKPOINT_SECONDS=0
command=(train "${run[@]}" --device cuda --gpus 2 --out "$work/moved")
begun=0
for gpus in 0,2,3 1; do
  "$cafx" "${command[@]}" >/dev/null 2>"$work/err" &
  pid=$!
  for _ in $(seq 2000); do  # until its first step begins, or goes on
    seen=$(grep -cE 'resumed|parameters' "$work/moved/log.txt" 2>/dev/null)
    [ "${seen:-0}" -gt $begun ] && break
    sleep 0.01
  done
  begun=$seen
  kill -INT $pid 2>/dev/null
  wait $pid
  code=$?
  [ $code = 130 ] || [ $code = 0 ] || fail "stopped: exit code $code: $(cat "$work/err")"
  command=(resume "$work/moved" --device cuda --gpus $gpus --quiet)
done
unset CAFX_CHECKPOINT_SECONDS
"$cafx" "${command[@]}" >/dev/null 2>"$work/err" || fail "the last resume: $(cat "$work/err")"
[ "$(grep -c "the bits will differ" "$work/moved/log.txt")" = 2 ] || fail "not resumed twice: $(cat "$work/moved/log.txt")"
near "$work/on1" "$work/moved" || fail "a run that moved from 2 to 3 to 1 GPUs differs: $(cat "$work/moved/metrics.csv")"

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
