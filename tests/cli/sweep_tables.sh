#!/usr/bin/env bash
# What a sweep refuses before its first run, how its tables are written, what its status tells.
. "$(dirname "$0")/sweep_common.sh"
sweep() { "$cafx" sweep "$@" --store "$work/my runs"; }

tiny_sweep "$work/a.toml" a '[1e-3]' '[1]' 1 '[sweep]
objective = "test.ers"'
refuses "a misspelt objective" "no run has such a result; did you mean 'test.esr'" sweep run "$work/a.toml"
[ ! -e "$work/my runs/a.sweep" ] || fail "a refused sweep began"
sed -e 's/^test_notes.*/test = 0/' -e 's/test.ers/test.esr/' "$work/a.toml" >"$work/b.toml"
refuses "an objective of the test without one" "no run has a test part" sweep plan "$work/b.toml"
tiny_sweep "$work/c.toml" c '[1e-3]' '[1]' 1
sed 's/^"data.effect.*/&\n"train.lr+train.batch" = [[1e-2, 8]]/' "$work/c.toml" >"$work/d.toml"
refuses "one key on two axes" "'train.lr' is on this axis and on" sweep plan "$work/d.toml"
sed 's/^train.seed = \[1\]/"train.seed+train.seed" = [[1, 2]]/' "$work/c.toml" >"$work/d.toml"
refuses "one key twice on an axis" "names 'train.seed' twice" sweep plan "$work/d.toml"

# Ranges are what was written, not what sums of binary fractions come to.
tiny_sweep "$work/r.toml" r '{range = [0.1, 0.7, 0.1]}' '[1]' 1
sweep plan "$work/r.toml" --no-measure >"$work/out" || fail "plan of a range"
for x in 0.1 0.2 0.3 0.4 0.5 0.6 0.7; do grep -q "train.lr=$x " "$work/out" || fail "0.1, 0.2, ... holds no $x: $(cat "$work/out")"; done

# A run that fails: its whole reason, in a pipe and on a narrow terminal; the hint names the store.
tiny_sweep "$work/f.toml" f '[1e-3, 10.0]' '[1]' 4
code=0
sweep run "$work/f.toml" --quiet --no-measure >"$work/out" 2>&1 || code=$?
[ $code = 2 ] || fail "a sweep with failed runs ends with $code: $(cat "$work/out")"
grep -q "'cafx sweep status $work/f.toml --store '$work/my runs'' tells why" "$work/out" || fail "the hint: $(cat "$work/out")"
reason=$(python3 -c "
import json, sys
print(next(r['reason'] for r in json.load(open(sys.argv[1]))['runs'] if r['state'] == 'failed'))" "$work/my runs/f.sweep/results.json")
[ ${#reason} -gt 60 ] || fail "the reason is short: $reason"
sweep status f >"$work/out" || fail "status"
tr -s ' \n' ' ' <"$work/out" | grep -qF -- "$reason" || fail "status cuts the reason '$reason': $(cat "$work/out")"
python3 - "$work/my runs/f.sweep/results.csv" "$reason" <<'P' || fail "results.csv"
import csv, sys
rows = list(csv.reader(open(sys.argv[1], newline="")))
assert all(len(r) == len(rows[0]) for r in rows) and any(r[-1] == sys.argv[2] for r in rows), rows
P
finish
