#!/usr/bin/env bash
# Models that play sample by sample learn on a GPU: two runs give equal bits, and so does one that was killed at random moments
# and resumed; the first epoch's loss is that of the CPU; what learned there teaches a student there.
. "$(dirname "$0")/common.sh"
"$cafx" doctor >"$work/doctor" || fail "doctor"
if ! grep -q "it can be used" "$work/doctor"; then
  echo "skipped: $(tail -1 "$work/doctor")"
  exit 77
fi
short_notes
tiny=(--set model.sample_rate=8000 --set train.segment_seconds=0.03 --set train.batch=4 --set train.epochs=2 --quiet)
lstm=(--preset lstm --set model.hidden=5 --set model.layers=2 --set train.block=100 --set train.burn_in=50)
wavenet=(--preset wavenet "--set" "model.channels=[3,2]" --set "model.layers=[2,2]" --set "model.dilations=[1,3,1,5]")
s4=(--preset s4-tf-s --set model.blocks=2 --set model.channels=5 --set train.block=128 --set train.burn_in=50)
same() {
  for file in best.safetensors metrics.csv result.json; do
    cmp "$work/$1/$file" "$work/$2/$file" || fail "$3: $file differs"
  done
}
first_loss() { sed -n 2p "$work/$1/metrics.csv" | cut -d, -f5; }

for preset in lstm wavenet s4; do
  declare -n model=$preset
  run=("$work/dry" "$work/wet" "${model[@]}" "${tiny[@]}")
  for n in 1 2; do
    "$cafx" train "${run[@]}" --device cuda --out "$work/$preset$n" >/dev/null 2>"$work/err" || fail "$preset: $(cat "$work/err")"
  done
  same ${preset}1 ${preset}2 "$preset, a second run"

  export CAFX_CHECKPOINT_SECONDS=0
  RANDOM=7
  command=(train "${run[@]}" --device cuda --out "$work/killed_$preset")
  for n in 1 2 3; do
    "$cafx" "${command[@]}" >/dev/null 2>"$work/err" &
    pid=$!
    for _ in $(seq 2000); do  # until there is something to resume, then a little
      [ -f "$work/killed_$preset/checkpoint.safetensors" ] && break
      kill -0 $pid 2>/dev/null || break
      sleep 0.01
    done
    sleep "0.$((RANDOM % 10))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    command=(resume "$work/killed_$preset" --device cuda --quiet)
  done
  unset CAFX_CHECKPOINT_SECONDS
  "$cafx" "${command[@]}" >/dev/null 2>"$work/err" || fail "$preset, the last resume: $(cat "$work/err")"
  same ${preset}1 killed_$preset "$preset, three kills"

  "$cafx" train "${run[@]}" --device cpu --out "$work/${preset}_cpu" >/dev/null 2>"$work/err" || fail "$preset on the CPU: $(cat "$work/err")"
  awk -v a="$(first_loss ${preset}1)" -v b="$(first_loss ${preset}_cpu)" 'BEGIN { d = a > b ? a - b : b - a; exit !(a > 0 && d <= 1e-3 * b) }' ||
    fail "$preset: the first epoch's loss is $(first_loss ${preset}1) on the GPU, $(first_loss ${preset}_cpu) on the CPU"
done

for n in 1 2; do
  "$cafx" distill "$work/wavenet1" --data "$work/dry" "$work/wet" "${lstm[@]}" "${tiny[@]}" --device cuda --out "$work/student$n" >/dev/null \
    2>"$work/err" || fail "a student: $(cat "$work/err")"
done
same student1 student2 "a student, a second run"
finish
