#!/usr/bin/env bash
# A sweep whose scheduler, workers, or all of them are killed with SIGKILL at random moments ends with the table of an
# undisturbed one, byte for byte; no run is lost, none counted twice; the index may vanish meanwhile.
#   $3: training runs   $4: kills   $5: runs that a process trains side by side; those of the undisturbed sweep are alone
. "$(dirname "$0")/sweep_common.sh"
runs=${3:-24} kills=${4:-20} cohort=${5:-off}
rates='{log = [1e-4, 1e-2], points = 4}'
seeds="[$(seq -s, 1 $((runs / 8)))]"
more=$'[sweep]\nretries = 1000\nslots = 3'
tiny_sweep "$work/whole.toml" t "$rates" "$seeds" 6 "$more"

"$cafx" sweep run "$work/whole.toml" --store "$work/whole" --quiet --no-measure >"$work/log" 2>&1 || fail "the undisturbed sweep: $(cat "$work/log")"
[ "$(grep -c ',done,' "$work/whole/t.sweep/results.csv")" = "$runs" ] || fail "the undisturbed sweep has not $runs finished runs"

export CAFX_CHECKPOINT_SECONDS=0.05
RANDOM=11
n=0 rounds=0
while [ $rounds -lt 400 ]; do
  rounds=$((rounds + 1))
  "$cafx" sweep run "$work/whole.toml" --store "$work/killed" --cohort "$cohort" --quiet --no-measure >"$work/log" 2>&1 &
  scheduler=$!
  ended=0
  while [ $n -lt "$kills" ]; do
    sleep "0.$(printf %03d $((100 + RANDOM % 600)))"
    kill -0 $scheduler 2>/dev/null || break
    workers=$(pgrep -P $scheduler || true)
    n=$((n + 1))
    case $((n % 3)) in
    0) kill -9 $scheduler ;;
    1) # one worker
      set -- $workers
      [ $# -gt 0 ] && kill -9 "$1" 2>/dev/null
      ;;
    2) kill -9 $scheduler $workers 2>/dev/null ;;
    esac
    [ $((n % 5)) = 0 ] && rm -f "$work/killed/t.sweep"/index.sqlite*
    kill -0 $scheduler 2>/dev/null && [ $((n % 3)) = 1 ] || { ended=1; break; }
  done
  wait $scheduler 2>/dev/null
  code=$?
  [ $code = 0 ] && [ $ended = 0 ] && break
  [ $n -ge "$kills" ] || [ $ended = 1 ] || fail "the sweep ended with $code: $(cat "$work/log")"
done
cmp "$work/whole/t.sweep/results.csv" "$work/killed/t.sweep/results.csv" || fail "the table differs from the undisturbed sweep's"
for run in "$work/whole"/default-*; do
  for file in result.json metrics.csv eval.json outcome.json; do
    cmp "$run/$file" "$work/killed/$(basename "$run")/$file" || fail "$(basename "$run")/$file differs"
  done
done
[ "$(ls -d "$work/killed"/default-* | wc -l)" = "$runs" ] || fail "there are other run folders than $runs"
[ "$(ls -d "$work/killed"/pretrain-* | wc -l)" = 2 ] || fail "there are other pretrainings than 2"

[ "$cohort" = off ] || grep -q "\"cohort\": $cohort" "$work/killed"/default-*/usage.json || fail "no process had $cohort runs"

# Each run's index row is there again after the index is deleted.
if command -v sqlite3 >/dev/null; then
  before=$(sqlite3 "$work/killed/t.sweep/index.sqlite" "SELECT folder, state, objective FROM task ORDER BY id")
  rm -f "$work/killed/t.sweep"/index.sqlite*
  "$cafx" sweep run "$work/whole.toml" --store "$work/killed" --quiet --no-measure || fail "a finished sweep, again"
  after=$(sqlite3 "$work/killed/t.sweep/index.sqlite" "SELECT folder, state, objective FROM task ORDER BY id")
  [ -n "$before" ] && [ "$before" = "$after" ] || fail "the rebuilt index differs"
fi
echo "$n kills in $rounds rounds"
finish
