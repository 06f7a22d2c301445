#!/usr/bin/env bash
# What a sweep refuses, tells or mends where silence would cost work: another file of its name.
. "$(dirname "$0")/sweep_common.sh"
sweep() { "$cafx" sweep "$@" --store "$work/runs"; }

# Another file of the same name does not take the place of a sweep's plan; its own file after a change does, and a copy
# that lies elsewhere, and the sweep by its name.
mkdir "$work/mine" "$work/yours"
tiny_sweep "$work/mine/a.toml" a '[1e-3]' '[1]' 2
sed -i 's/, \["EQ", 2\]//' "$work/mine/a.toml"
sed 's/1e-3/2e-3/' "$work/mine/a.toml" >"$work/yours/a.toml"
sweep run "$work/mine/a.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "run: $(cat "$work/out")"
cp "$work/runs/a.sweep/tasks.jsonl" "$work/before"
refuses "another sweep of that name" "is the sweep \"a\" of another file, $work/mine/a.toml; give this one a name" \
  "$cafx" sweep run "$work/yours/a.toml" --store "$work/runs" --quiet --no-measure
cmp "$work/before" "$work/runs/a.sweep/tasks.jsonl" || fail "a sweep that was refused changed another's plan"
(cd "$work/mine" && sweep run ./a.toml --quiet --no-measure) >"$work/out" 2>&1 || fail "by a relative path: $(cat "$work/out")"
cp "$work/mine/a.toml" "$work/yours/copy.toml"
sweep run "$work/yours/copy.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "a copy: $(cat "$work/out")"
sweep run a --quiet --no-measure >"$work/out" 2>&1 || fail "by its name: $(cat "$work/out")"
sed -i 's/epochs = 2$/epochs = 3/' "$work/yours/copy.toml"
sweep run "$work/yours/copy.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "the copy, changed: $(cat "$work/out")"
rm "$work/yours/copy.toml"
sweep run "$work/yours/a.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "a file that was moved and changed: $(cat "$work/out")"
finish
