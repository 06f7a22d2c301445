#!/usr/bin/env bash
# What a sweep refuses, tells or mends where silence would cost work: another file of its name, recordings that are left
# out, weights that are gone, times of small trainings.
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

# What a run takes beside its steps is in its time, guessed or recorded; that of a second is not told as none.
sweep plan "$work/mine/a.toml" --json >"$work/recorded" || fail "plan --json"
"$cafx" sweep plan "$work/mine/a.toml" --store "$work/none" --no-measure --json >"$work/guessed" || fail "plan --json"
python3 - "$work" <<'END' || fail "times of small trainings"
import json, sys
work = sys.argv[1]
for task in json.load(open(work + "/recorded"))["tasks"]:
    usage = json.load(open(f"{work}/runs/{task['folder']}/usage.json"))
    assert task["seconds"] > 0.9 * usage["seconds"], (task["seconds"], usage)
assert all(t["seconds"] > 0.1 for t in json.load(open(work + "/guessed"))["tasks"])
END
sweep plan "$work/mine/a.toml" >"$work/out"
! grep -Eq ' 0(\.0)? s ' "$work/out" || fail "a time is told as none: $(cat "$work/out")"

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

# Recordings that are left out are told by the plan, the second time too, and by the run.
cp -r "$root/datasets/notes" "$work/notes"
spoilt=$(ls "$work/notes/Gitarre monophon/Samples/Distortion"/*-4412-* | head -1)
echo rubbish >"$spoilt"
tiny_sweep "$work/w.toml" w '[1e-3]' '[1]' 1
sed -i "s|^path = .*|path = \"$work/notes\"|" "$work/w.toml"
for time in first second; do
  sweep plan "$work/w.toml" --no-measure >"$work/out" || fail "plan of spoilt recordings"
  [ "$(grep -c "data.effect=Distortion data.setting=2: left out: $spoilt: is not audio" "$work/out")" = 1 ] || fail "the $time plan: $(cat "$work/out")"
done
sweep run "$work/w.toml" --no-measure >"$work/out" 2>"$work/err" || fail "run of spoilt recordings: $(cat "$work/err")"
grep -q "left out: $spoilt" "$work/err" || fail "the run says what it leaves out: $(cat "$work/err")"
sweep run "$work/w.toml" --no-measure --quiet >"$work/out" 2>&1 && [ ! -s "$work/out" ] || fail "--quiet is quiet: $(cat "$work/out")"

# Weights of finished runs that were removed: a training's are the same again, from its checkpoint. A pretraining is
# run again where a new run needs it; what nobody needs stays as it is, and that is told.
tiny_sweep "$work/d.toml" d '[1e-3]' '[1]' 1
sed -i 's/, \["EQ", 2\]//' "$work/d.toml"
sweep run "$work/d.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "run: $(cat "$work/out")"
run=$(cut -d, -f1 "$work/runs/d.sweep/results.csv" | tail -1)
parent=$(grep -o 'pretrain-[0-9a-f]*' "$work/runs/d.sweep/results.csv")
best=$work/runs/$run/best.safetensors first=$work/runs/$parent/pretrained.safetensors
mv "$best" "$work/best"
mv "$first" "$work/first"
cp "$work/runs/d.sweep/results.csv" "$work/before"
sweep run "$work/d.toml" --no-measure >"$work/out" 2>&1 || fail "without weights: $(cat "$work/out")"
grep -q "$run: its weights are gone; they are written again" "$work/out" || fail "weights that come again are told: $(cat "$work/out")"
grep -q "$parent: finished, but the weights are gone" "$work/out" || fail "weights that nobody needs are told: $(cat "$work/out")"
cmp "$best" "$work/best" || fail "weights of the checkpoint differ"
cmp "$work/before" "$work/runs/d.sweep/results.csv" || fail "the table after weights were written again"
sed -i 's/1e-3/1e-3, 2e-3/' "$work/d.toml"
sweep run "$work/d.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "a pretraining that is needed again: $(cat "$work/out")"
cmp "$first" "$work/first" || fail "a pretraining that was run again differs"
[ "$(grep -c ',done,' "$work/runs/d.sweep/results.csv")" = 2 ] || fail "runs of a pretraining that was run again"

# A folder of dry notes that the reader does not read is told as that, not as none.
printf 'name = "r"\n[data]\ndry = "%s"\nwet = "%s"\n[axes]\ntrain.seed = [1]\n' "$work/mine" "$work/yours" >"$work/r.toml"
refuses "folders without their reader" 'data.reader is "idmt"; set it to "folders"' "$cafx" sweep plan "$work/r.toml" --no-measure

# A search whose axes have changed proposes anew: coordinates of other axes are no points of these.
tiny_sweep "$work/t.toml" t '{log = [1e-5, 1e-2]}' '[1]' 1 $'[sweep]\nsampling = "tpe"\nbudget = 2'
sed -i 's/, \["EQ", 2\]//' "$work/t.toml"
sweep run "$work/t.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "tpe: $(cat "$work/out")"
sed -i 's/^train.lr = .*/&\ntrain.beta1 = {linear = [0.7, 0.9]}/' "$work/t.toml"
sweep run "$work/t.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "tpe with another axis: $(cat "$work/out")"
python3 - "$work/runs/t.sweep" <<'END' || fail "tpe with another axis: $(cat "$work/runs/t.sweep/results.csv")"
import csv, json, sys
rows = list(csv.DictReader(open(sys.argv[1] + "/results.csv")))
assert len(rows) == 2 and all(0.7 < float(row["train.beta1"]) < 0.9 for row in rows), rows
assert all(len(u) == 2 for u in json.load(open(sys.argv[1] + "/proposals.json"))["points"])
END
echo '{"points": 3}' >"$work/runs/t.sweep/proposals.json"
sweep run "$work/t.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "damaged proposals: $(cat "$work/out")"
finish
