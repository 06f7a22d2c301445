#!/usr/bin/env bash
# tests/python/tensorboard.sh CAFX PROJECT_FOLDER VENV: a run that is killed again and again, its event file read with
# TensorBoard, which Debian does not have: from the Python registry, in a virtual environment that is made once. Exit code
# 77: skipped, with the reason.
cafx=$1 root=$2 venv=$3
. "$root/tests/cli/common.sh"
if ! "$venv/bin/python" -c 'import tensorboard, numpy' 2>/dev/null; then
  skip() {
    echo "skipped: $*"
    exit 77
  }
  /usr/bin/env python3 -m venv "$venv" >/dev/null 2>&1 || skip "no virtual environment could be made in $venv (python3-venv)"
  "$venv/bin/pip" install -q --disable-pip-version-check 'tensorboard>=2.14,<3' >"$venv/pip.log" 2>&1 ||
    skip "tensorboard could not be installed from the Python registry: $(tail -n 1 "$venv/pip.log")"
fi
run=("${small[@]}" --set train.pretrain_epochs=4 --set train.epochs=8 --set train.refine_epochs=3 --set train.patience=1000
  --set train.clip_norm=1)
"$cafx" train "${run[@]}" --out "$work/whole" >/dev/null || fail "the undisturbed run"
"$cafx" train "${run[@]}" --set log.events=off --out "$work/off" >/dev/null || fail "a run without events"
"$cafx" train "${run[@]}" --set log.events=scalars --out "$work/scalars" >/dev/null || fail "a run with scalars"
[ -e "$work/off/events.out.tfevents" ] && fail "log.events=off writes an event file"
# Nothing of the result depends on what is logged.
for other in off scalars; do
  for file in metrics.csv best.safetensors pretrained.safetensors result.json eval.json; do
    cmp "$work/whole/$file" "$work/$other/$file" || fail "log.events=$other: $file differs"
  done
done

# Saves all the time, so that kills hit the middle of writing too.
export CAFX_CHECKPOINT_SECONDS=0.02
RANDOM=3
kills=0
while [ $kills -lt 6 ]; do  # a run that ended between two kills makes room for another
  folder=$work/killed ended=0
  rm -rf "$folder"
  command=(train "${run[@]}" --out "$folder")
  for _ in $(seq 15); do
    "$cafx" "${command[@]}" --threads 2 >/dev/null 2>"$work/err" &
    pid=$!
    sleep "0.$(printf %03d $((RANDOM % 300 + 100)))"
    if ! kill -9 $pid 2>/dev/null; then
      wait $pid || fail "a resumed run: $(cat "$work/err")"
      ended=1
      break
    fi
    wait $pid 2>/dev/null
    kills=$((kills + 1))
    [ -f "$folder/checkpoint.safetensors" ] && command=(resume "$folder" --quiet) || rm -rf "$folder"
    # A torn record after the last, as a crash of the machine leaves it, or whole ones that belong to no checkpoint.
    [ -d "$folder" ] && head -c $((RANDOM % 300)) "$work/whole/events.out.tfevents" >>"$folder/events.out.tfevents"
  done
  [ $ended = 1 ] || "$cafx" "${command[@]}" >/dev/null 2>"$work/err" || fail "the last resume: $(cat "$work/err")"
  cmp "$work/whole/checkpoint.safetensors" "$folder/checkpoint.safetensors" || fail "the killed run's checkpoint differs"
done
unset CAFX_CHECKPOINT_SECONDS

# A run whose event file was lost goes on without what it told before.
for _ in 1 2 3 4 5; do
  rm -rf "$work/lost"
  CAFX_CHECKPOINT_SECONDS=0.02 "$cafx" train "${run[@]}" --out "$work/lost" >/dev/null 2>"$work/err" &
  pid=$!
  for _ in $(seq 500); do
    grep -q "^train,1," "$work/lost/metrics.csv" 2>/dev/null && break
    sleep 0.01
  done
  kill -INT $pid 2>/dev/null
  wait $pid
  [ -e "$work/lost/result.json" ] || break  # else it was through before the signal came: once more
done
rm -f "$work/lost/events.out.tfevents"
"$cafx" resume "$work/lost" --quiet >/dev/null 2>"$work/err" || fail "resume without the event file: $(cat "$work/err")"
cmp "$work/whole/best.safetensors" "$work/lost/best.safetensors" || fail "a lost event file changes the result"

"$venv/bin/python" "$root/tests/python/tensorboard_read.py" "$cafx" "$root" "$work" || fail "the event files"
echo "$kills kills"
finish
