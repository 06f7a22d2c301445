#!/usr/bin/env bash
# Searches that stop losers, end to end: median stopping, runs of unlike length, effects that are not compared. Half a minute.
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
finish
