#!/usr/bin/env bash
# A sweep over the sizes of a small model, learning from a teacher: the axes are its own fields, the objective is what its
# validation stops on, a second sweep finds the runs of the first.
. "$(dirname "$0")/common.sh"
"$cafx" train "${small[@]}" --set train.epochs=2 --set train.pretrain_epochs=0 --set train.refine_epochs=0 --out "$work/teacher" >/dev/null ||
  fail "the teacher's training"
spec() { # FILE NAME HIDDEN
  cat >"$1" <<T
name = "$2"
preset = "lstm-nano"
[teacher]
model = "$work/teacher"
[data]
path = "$root/datasets/notes"
setting = 2
test_notes = ["G61-55400", "G71-55400"]
[train]
epochs = 2
segment_seconds = 0.2
[axes]
model.hidden = $3
train.seed = [1, 2]
T
}
spec "$work/sizes.toml" sizes '[3, 5]'
sweep() { "$cafx" sweep "$@" --store "$work/runs"; }
sweep plan "$work/sizes.toml" >"$work/out" || fail "plan: $(cat "$work/out")"
grep -q "4 training runs" "$work/out" || fail "plan counts: $(cat "$work/out")"
grep -q "measured here" "$work/out" || fail "plan measures: $(cat "$work/out")"
sweep run "$work/sizes.toml" --quiet >"$work/out" 2>&1 || fail "run: $(cat "$work/out")"
table=$work/runs/sizes.sweep/results.csv
[ "$(grep -c ',done,' "$table")" = 4 ] || fail "4 finished runs: $(cat "$table")"
head -1 "$table" | grep -q "model.hidden,train.seed" || fail "the sizes are columns: $(head -1 "$table")"
head -1 "$table" | grep -q "validation_esr" || fail "the validation is a column: $(head -1 "$table")"
grep -q "best validation_esr" "$work/out" || sweep status sizes | grep -q "best validation_esr" || fail "the objective: $(cat "$work/out")"
run=$(grep -m1 ',done,3,' "$table" | cut -d, -f1)
grep -q "hidden = 3 " "$work/runs/$run/config.toml" || fail "the run has its size: $run"
spec "$work/more.toml" more '[3, 6]'
sweep plan "$work/more.toml" --no-measure >"$work/out" || fail "plan of the second"
grep -q "2 of 4 are done" "$work/out" || fail "sweeps share runs of small models: $(cat "$work/out")"
sed 's/model.hidden/model.type/; s/\[3, 5\]/["lstm", "wavenet"]/' "$work/sizes.toml" >"$work/type.toml"
refuses "the type as an axis" "cannot be an axis" "$cafx" sweep plan "$work/type.toml" --store "$work/runs"
sed 's/model.hidden/model.filters/' "$work/sizes.toml" >"$work/filters.toml"
refuses "another type's field" "model.filters" "$cafx" sweep plan "$work/filters.toml" --store "$work/runs"
finish
