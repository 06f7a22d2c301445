#!/usr/bin/env bash
# kill -9 at random moments, many times, then resume: the bits of an undisturbed run. The same for 1, 2 and 5 threads,
# and for Ctrl-C.   $3: number of kills   $4: a preset, of a small model that learns from segments; a tiny CAFx without it
. "$(dirname "$0")/common.sh"
kills=${3:-12}
if [ -z "${4:-}" ]; then
  run=("${small[@]}" --set train.epochs=40 --set train.patience=1000 --set train.clip_norm=1 --set train.ema=50)
else
  run=("${small[@]:0:6}" --preset "$4" --set train.epochs=6 --set train.refine_epochs=2 --set train.segment_seconds=0.2 --set train.ema=50 --quiet)
fi

"$cafx" train "${run[@]}" --threads 1 --out "$work/whole" >/dev/null || fail "the undisturbed run"
same() {
  for file in best.safetensors checkpoint.safetensors metrics.csv result.json eval.json split.json; do
    cmp "$work/whole/$file" "$1/$file" || fail "$2: $file differs from the undisturbed run"
  done
}
for threads in 2 5; do
  "$cafx" train "${run[@]}" --threads $threads --out "$work/threads$threads" >/dev/null || fail "$threads threads"
  same "$work/threads$threads" "$threads threads"
done

# Saves at every step, so that kills hit the middle of writing too.
export CAFX_CHECKPOINT_SECONDS=0
RANDOM=7
n=0 round=0
while [ $n -lt "$kills" ]; do
  round=$((round + 1))
  folder=$work/killed$round
  command=(train "${run[@]}" --out "$folder")
  for _ in $(seq 1000); do
    "$cafx" "${command[@]}" --threads 2 >/dev/null 2>"$work/err" &
    pid=$!
    sleep "0.$(printf %03d $((RANDOM % 700)))"
    if ! kill -9 $pid 2>/dev/null; then
      wait $pid || fail "a resumed run: $(cat "$work/err")"
      break
    fi
    wait $pid 2>/dev/null
    n=$((n + 1))
    [ -f "$folder/checkpoint.safetensors" ] && command=(resume "$folder" --quiet) || rm -rf "$folder"
    [ $n -ge "$kills" ] && { "$cafx" "${command[@]}" >/dev/null 2>"$work/err" || fail "the last resume: $(cat "$work/err")"; break; }
  done
  same "$folder" "killed run $round"
done
unset CAFX_CHECKPOINT_SECONDS

"$cafx" train "${run[@]}" --out "$work/stopped" >/dev/null 2>"$work/err" &
pid=$!
for _ in $(seq 600); do [ -s "$work/stopped/metrics.csv" ] && break; sleep 0.05; done  # it trains, however busy the machine is
kill -INT $pid
wait $pid
[ $? = 130 ] || fail "Ctrl-C ends with 130: $(cat "$work/err")"
grep -q "cafx resume" "$work/err" || fail "Ctrl-C says how to go on"
"$cafx" resume "$work/stopped" --quiet >/dev/null || fail "resuming after Ctrl-C"
same "$work/stopped" "Ctrl-C"
echo "$n kills"
finish
