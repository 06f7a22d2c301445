#!/usr/bin/env bash
# Searches that stop losers, end to end: median stopping, runs of unlike length, effects that are not compared,
# cohorts at rungs. A minute.
. "$(dirname "$0")/sweep_common.sh"
sweep() { "$cafx" sweep "$@" --store "$work/$store" --quiet --no-measure >"$work/out" 2>&1; }
rates='[1e-3, 2e-3, 3e-3, 5e-3, 1e-6, 2e-6]'

# Median: what is worse than the median of at least four others stops, with its reason; the others go on to the end. One slot,
# so that the two tiny rates come to the rung last.
store=median
tiny_sweep "$work/m.toml" m "$rates" '[1]' 9 $'[sweep]\nprune = "median"\nrung_first = 2\nslots = 1'
sweep run "$work/m.toml" || fail "median: $(cat "$work/out")"
m=$work/median/m.sweep/results.csv
pruned=$(grep -c ',pruned,.*worse than the median of the others at its rung' "$m")
ended=$(grep -c ',done,' "$m")
[ "$pruned" -ge 2 ] && [ "$ended" -ge 4 ] && [ $((pruned + ended)) = 12 ] || fail "median: $pruned stopped, $ended ended: $(cat "$m")"
for run in $(grep ',pruned,' "$m" | cut -d, -f1); do
  [ ! -e "$work/median/$run/result.json" ] || fail "$run was stopped and has a result"
done
before=$(cat "$m")
sweep run "$work/m.toml" || fail "median, again: $(cat "$work/out")"
[ "$before" = "$(cat "$m")" ] || fail "a finished median sweep changes when it is run again"

# A sweep that asks for all of its runs trains those to the end that another one stopped.
tiny_sweep "$work/all.toml" all '[1e-6, 2e-6]' '[1]' 9
sweep run "$work/all.toml" || fail "runs that were pruned before: $(cat "$work/out")"
[ "$(grep -c ',done,' "$work/median/all.sweep/results.csv")" = 4 ] || fail "not all end: $(cat "$work/median/all.sweep/results.csv")"

# The effects are not compared with each other: of each the best goes on, however much easier the other is.
store=asha
tiny_sweep "$work/a.toml" a '[1e-4, 1e-3, 3e-3]' '[1]' 9 $'[sweep]\nprune = "asha"\nrung_first = 1\nrung_factor = 3'
sweep run "$work/a.toml" || fail "asha: $(cat "$work/out")"
a=$work/asha/a.sweep/results.csv
for effect in Distortion EQ; do
  grep -q "^[^,]*,done,$effect," "$a" || fail "no run of $effect goes to the end: $(cat "$a")"
  [ "$(grep -c "^[^,]*,paused,$effect," "$a")" -ge 1 ] || fail "no run of $effect is paused: $(cat "$a")"
done

# Epochs as an axis: each run has the rungs below its own end, and the longest are paused as well.
store=epochs
tiny_sweep "$work/e.toml" e '[1e-4, 1e-3, 3e-3]' '[1]' 9 $'[sweep]\nprune = "asha"\nrung_first = 2\nrung_factor = 2'
sed -i 's/^epochs = 9/epochs = 3/; s/^train.lr.*/&\ntrain.epochs = [2, 3, 12]/' "$work/e.toml"
sweep run "$work/e.toml" || fail "epochs: $(cat "$work/out")"
e=$work/epochs/e.sweep/results.csv
[ "$(grep -c ',done,' "$e")" -ge 6 ] || fail "runs of two epochs have no rung and end: $(cat "$e")"
python3 - "$work/epochs" <<'END' || fail "rungs of unlike runs"
import csv, json, os, sys
store = sys.argv[1]
beyond = 0
for row in csv.DictReader(open(store + "/e.sweep/results.csv")):
    epochs, path = int(row["train.epochs"]), f"{store}/{row['run']}/rungs.json"
    rungs = [r[0] for r in json.load(open(path))] if os.path.exists(path) else []
    assert all(r < epochs for r in rungs), (epochs, rungs)
    assert rungs == [2, 4, 8][:len(rungs)], rungs
    if row["state"] == "done": assert len(rungs) == sum(r < epochs for r in (2, 4, 8)), (row, rungs)
    else: assert row["state"] == "paused" and rungs, row
    beyond += 4 in rungs
assert beyond >= 1, "no long run went past the shorter ones' end to a rung of its own"
END
# In a cohort a run that is promoted goes on where it is, the others leave; those that end have the files of runs alone. Some
# processes are killed meanwhile.
store=alone
tiny_sweep "$work/c.toml" c '[1e-4, 1e-3, 3e-3]' '[1]' 9
sweep run "$work/c.toml" || fail "alone: $(cat "$work/out")"
rungs=$'[sweep]\nprune = "asha"\nrung_first = 1\nrung_factor = 3\nslots = 1\nretries = 1000'
tiny_sweep "$work/c.toml" c '[1e-4, 1e-3, 3e-3]' '[1]' 9 "$rungs"
compare() {
  local run n=0
  for run in $(grep ',done,' "$work/$store/c.sweep/results.csv" | cut -d, -f1); do
    for file in result.json metrics.csv eval.json outcome.json; do
      cmp "$work/alone/$run/$file" "$work/$store/$run/$file" || fail "$store: $run/$file differs"
    done
    n=$((n + 1))
  done
  [ $n -ge 2 ] || fail "$store: $n runs end: $(cat "$work/$store/c.sweep/results.csv")"
  python3 - "$work/$store" <<'END' || fail "$store: rungs"
import glob, json, sys
for path in glob.glob(sys.argv[1] + "/default-*/rungs.json"):
    rungs = [r[0] for r in json.load(open(path))]
    assert rungs == [1, 3][:len(rungs)], (path, rungs)
END
}
store=company
sweep run "$work/c.toml" --cohort 6 || fail "company: $(cat "$work/out")"
compare
for run in $(grep ',done,' "$work/company/c.sweep/results.csv" | cut -d, -f1); do
  ! grep -q 'resumed:' "$work/company/$run/log.txt" || fail "$run was begun again: $(cat "$work/company/$run/log.txt")"
  grep -q '"cohort": 6' "$work/company/$run/usage.json" || fail "$run had other company: $(cat "$work/company/$run/usage.json")"
done
store=killed
export CAFX_CHECKPOINT_SECONDS=0.05
for pause in 0.9 1.1 0.5 0.7 1.3; do
  "$cafx" sweep run "$work/c.toml" --store "$work/$store" --cohort 6 --quiet --no-measure >"$work/out" 2>&1 &
  scheduler=$!
  sleep $pause
  workers=$(pgrep -P $scheduler || true)
  # shellcheck disable=SC2086  # several
  kill -9 $scheduler $workers 2>/dev/null
  wait $scheduler 2>/dev/null
done
sweep run "$work/c.toml" --cohort 6 || fail "killed: $(cat "$work/out")"
compare
finish
