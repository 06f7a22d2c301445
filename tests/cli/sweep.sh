#!/usr/bin/env bash
# The paths of `cafx sweep`: plan, run, share across sweeps, stop and go on, failures and retry, a full disk, bad files.
. "$(dirname "$0")/sweep_common.sh"
tiny_sweep "$work/a.toml" a '[1e-3, 3e-3]' '[1, 2]' 3
sweep() { "$cafx" sweep "$@" --store "$work/runs"; }

sweep plan "$work/a.toml" >"$work/out" || fail "plan"
grep -q "8 training runs from 2 pretrainings; 0 of 10 are done" "$work/out" || fail "plan counts: $(cat "$work/out")"
grep -q "measured here" "$work/out" || fail "plan says where its estimate comes from: $(cat "$work/out")"
sweep plan "$work/a.toml" --cohort 4 --no-measure >"$work/out" || fail "plan of cohorts"
grep -q "up to 4 runs train side by side in a process: 8 of one kind" "$work/out" || fail "plan tells kin: $(cat "$work/out")"
sed '0,/^train.seed = .*/s//&\ntrain.batch = [8, 16]/' "$work/a.toml" >"$work/kinds.toml"
sweep plan "$work/kinds.toml" --cohort 4 --no-measure >"$work/out" || fail "plan of kinds"
grep -q "train.batch is 8 in one and 16 in the other" "$work/out" || fail "plan says why runs cannot share: $(cat "$work/out")"
sweep run "$work/a.toml" --quiet >"$work/out" 2>&1 || fail "run: $(cat "$work/out")"
table=$work/runs/a.sweep/results.csv
[ "$(grep -c ',done,' "$table")" = 8 ] || fail "8 finished runs: $(cat "$table")"
sweep plan "$work/a.toml" >"$work/out" || fail "plan again"
grep -q "10 of 10 are done" "$work/out" || fail "plan knows what is done: $(cat "$work/out")"
grep -q "recorded by runs" "$work/out" || fail "plan uses what was recorded: $(cat "$work/out")"

# A fine-tuning starts from its pretraining, and says so in the weights' metadata; pretrained and trained in one run it
# comes to the same bits where the seed is the same.
run=$(grep ',0.001,1,' "$table" | grep 'Distortion' | cut -d, -f1)
parent=$(grep "^$run," "$table" | grep -o 'pretrain-[0-9a-f]*')
"$cafx" info "$work/runs/$run/best.safetensors" >/dev/null || fail "info of a run of a sweep"
grep -aq "\"init\":\"${parent#pretrain-}/pretrained\"" "$work/runs/$run/best.safetensors" || fail "lineage in the metadata"
"$cafx" train "${small[@]}" --set data.effect=Distortion --set train.pretrain_epochs=2 --set train.epochs=3 \
  --set train.refine_epochs=1 --set train.lr=0.001 --set train.warmup_steps=0 --out "$work/one" >/dev/null || fail "the same in one run"
mae() { grep -o '"validation_mae": [^,]*' "$1/result.json"; }
[ "$(mae "$work/one")" = "$(mae "$work/runs/$run")" ] || fail "pretraining apart differs from one run: $(mae "$work/one") $(mae "$work/runs/$run")"
# The folder is complete without its pretraining.
mv "$work/runs/$parent" "$work/aside"
"$cafx" resume "$work/runs/$run" --quiet >"$work/out" 2>&1 || fail "resume without the pretraining's folder: $(cat "$work/out")"
mv "$work/aside" "$work/runs/$parent"

# Another sweep that overlaps computes only what is new.
tiny_sweep "$work/b.toml" b '[1e-3, 1e-2]' '[1, 2]' 3
sweep plan "$work/b.toml" --no-measure >"$work/out"
grep -q "6 of 10 are done" "$work/out" || fail "sweeps share: $(cat "$work/out")"
stamp=$(stat -c %Y.%s "$work/runs/$run/outcome.json")
touch "$work/before"
sweep run "$work/b.toml" --quiet >"$work/out" 2>&1 || fail "the overlapping sweep: $(cat "$work/out")"
[ -z "$(find "$work/runs/$run" -newer "$work/before" -type f)" ] || fail "a finished run was touched by another sweep"
sweep run "$work/b.toml" --fresh --quiet >"$work/out" 2>&1 || fail "--fresh: $(cat "$work/out")"
[ "$work/runs/$run/outcome.json" -nt "$work/before" ] || fail "--fresh computes again"

# Stop, status, go on.
tiny_sweep "$work/c.toml" c '[1e-3, 3e-3, 5e-3]' '[5, 6]' 60
sweep run "$work/c.toml" --quiet --slots 2 --no-measure >"$work/out" 2>&1 &
pid=$!
for _ in $(seq 100); do [ -f "$work/runs/c.sweep/tasks.jsonl" ] && break; sleep 0.1; done
sleep 1.5
sweep status c >"$work/status" || fail "status of a running sweep"
grep -q " running" "$work/status" || fail "status shows what runs: $(cat "$work/status")"
sweep stop c >/dev/null || fail "stop"
wait $pid
[ $? = 130 ] || fail "a stopped sweep ends with 130"
grep -q "go on with" "$work/out" || fail "a stopped sweep says how to go on: $(cat "$work/out")"
[ -z "$(pgrep -f "sweep worker $work/runs")" ] || fail "workers outlive a stopped sweep"
sweep resume c --quiet --no-measure >"$work/out" 2>&1 || fail "resume: $(cat "$work/out")"
[ "$(grep -c ',done,' "$work/runs/c.sweep/results.csv")" = 12 ] || fail "12 runs after a stop: $(cat "$work/runs/c.sweep/results.csv")"

# A run that breaks down is marked with its reason, not tried again, and stops nobody else.
tiny_sweep "$work/d.toml" d '[1e-3, 10.0]' '[1]' 4 ''
sed -i 's/^warmup_steps.*/weight_decay = 10.0/' "$work/d.toml"
sweep run "$work/d.toml" --no-measure >"$work/out" 2>&1
[ $? = 2 ] || fail "a sweep with failed runs ends with 2: $(cat "$work/out")"
grep -q "broke down\|became nan\|became inf" "$work/out" || fail "the reason of a failed run is told: $(cat "$work/out")"
failed=$(grep -c ',failed,' "$work/runs/d.sweep/results.csv")
[ "$failed" -ge 1 ] || fail "failed runs are in the table"
broken=$(grep ',failed,' "$work/runs/d.sweep/results.csv" | head -1 | cut -d, -f1)
[ "$(ls "$work/runs/$broken" | grep -c 'lease.[0-9]*$')" = 1 ] || fail "a run that broke down was tried again"
sweep retry d --no-measure >"$work/out" 2>&1
grep -q "$failed failed runs" "$work/out" || fail "retry: $(cat "$work/out")"

# So is one whose recordings are refused; the others run, and mended it runs too.
cp -r "$root/datasets/notes" "$work/notes"
mv "$work/notes/Gitarre monophon/Samples/Distortion" "$work/good"
mkdir "$work/notes/Gitarre monophon/Samples/Distortion"
for wet in "$work/good"/*; do echo rubbish >"$work/notes/Gitarre monophon/Samples/Distortion/$(basename "$wet")"; done
tiny_sweep "$work/h.toml" h '[1e-3, 3e-3]' '[1]' 3
sed -i "s|^path = .*|path = \"$work/notes\"|" "$work/h.toml"
sweep plan "$work/h.toml" --no-measure >"$work/out" || fail "plan with bad recordings: $(cat "$work/out")"
grep -q "cannot be trained on their recordings" "$work/out" && grep -q "4412" "$work/out" ||
  fail "plan tells of the bad recordings: $(cat "$work/out")"
sweep run "$work/h.toml" --no-measure >"$work/out" 2>&1
[ $? = 2 ] || fail "a sweep with bad recordings ends with 2: $(cat "$work/out")"
h=$work/runs/h.sweep/results.csv
[ "$(grep -c ',done,' "$h")" = 2 ] && [ "$(grep -c ',failed,' "$h")" = 2 ] || fail "bad recordings stop their own runs alone: $(cat "$h")"
sweep status h >"$work/status"
grep -q "4412" "$work/status" || fail "status says which recording: $(cat "$work/status")"
cp "$work/good"/* "$work/notes/Gitarre monophon/Samples/Distortion"
sweep run "$work/h.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "mended: $(cat "$work/out")"
[ "$(grep -c ',done,' "$h")" = 4 ] || fail "all runs after the mend: $(cat "$h")"
find "$work/notes" -name '*.flac' -exec truncate -s 20 {} +
refuses "no run with good recordings" "flac" "$cafx" sweep run "$work/h.toml" --store "$work/runs" --quiet --no-measure

sweep report d >"$work/out" || fail "report"
grep -q 'id="failed"' "$work/runs/d.sweep/report.html" || fail "the page names what failed"
grep -q "$broken" "$work/runs/d.sweep/report.html" || fail "the page links to the runs"

# Losers are paused at rungs and the best go on to the end; going on changes nothing more.
tiny_sweep "$work/f.toml" f '[1e-5, 1e-4, 1e-3, 3e-3, 1e-2]' '[1]' 9 $'[sweep]\nprune = "asha"\nrung_first = 1\nrung_factor = 3'
sweep run "$work/f.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "asha: $(cat "$work/out")"
f=$work/runs/f.sweep/results.csv
[ "$(grep -c ',paused,' "$f")" -ge 5 ] && [ "$(grep -c ',done,' "$f")" -ge 1 ] || fail "asha pauses most and ends some: $(cat "$f")"
[ "$(cat "$work"/runs/default-*/rungs.json | wc -l)" -ge 10 ] || fail "rungs are kept in the run folders"
before=$(cat "$f")
sweep run "$work/f.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "asha, again: $(cat "$work/out")"
[ "$before" = "$(cat "$f")" ] || fail "a finished asha sweep changes when it is run again"

# A model of the results proposes points; they are kept.
tiny_sweep "$work/g.toml" g '{log = [1e-5, 1e-2]}' '[1]' 2 $'[sweep]\nsampling = "tpe"\nbudget = 6\nstartup = 3\nslots = 2'
sed -i 's/\["EQ", 2\]//; s/2\], \]/2]]/' "$work/g.toml"
sweep run "$work/g.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "tpe: $(cat "$work/out")"
g=$work/runs/g.sweep/results.csv
[ "$(grep -c ',done,' "$g")" = 6 ] || fail "tpe runs its budget: $(cat "$g")"
before=$(cat "$g")
sweep run "$work/g.toml" --quiet --no-measure >"$work/out" 2>&1 || fail "tpe, again: $(cat "$work/out")"
[ "$before" = "$(cat "$g")" ] || fail "a finished tpe sweep changes when it is run again"

echo '{"kind": "train"' >>"$work/runs/g.sweep/tasks.jsonl"
refuses "the status of a damaged plan" "is damaged; 'cafx sweep run FILE' writes it anew" "$cafx" sweep status g --store "$work/runs" --once
[ "$before" = "$(cat "$g")" ] || fail "a damaged plan spoils results"

# A full disk (here: a limit on the size of files) pauses the sweep; space brings it back.
if command -v prlimit >/dev/null; then
  tiny_sweep "$work/e.toml" e '[2e-3]' '[8]' 3
  (ulimit -S -f 24 && exec "$cafx" sweep run "$work/e.toml" --store "$work/full" --quiet --no-measure) >"$work/out" 2>&1 &
  pid=$!
  for _ in $(seq 100); do grep -q "paused" "$work/out" && break; sleep 0.1; done
  sleep 0.5
  kill -0 $pid 2>/dev/null || fail "the sweep did not survive a full disk: $(cat "$work/out")"
  prlimit --pid $pid --fsize=unlimited:
  wait $pid || fail "the sweep after a full disk: $(cat "$work/out")"
  [ "$(grep -c ',done,' "$work/full/e.sweep/results.csv")" = 2 ] || fail "all runs after a full disk: $(cat "$work/full/e.sweep/results.csv")"
else
  echo "no prlimit: the full disk was not tested"
fi

# Bad files and arguments.
refuses "no such sweep" "is no sweep" "$cafx" sweep run "$work/none.toml"
printf '[axes]\ntrain.lrr = [1]\n' >"$work/bad.toml"
refuses "an unknown axis" "did you mean 'train.lr'" "$cafx" sweep plan "$work/bad.toml"
tiny_sweep "$work/bad.toml" bad '[1e-3]' '[1]' 3
sed -i 's/^frame = 256/frame = 250/' "$work/bad.toml"
refuses "a config that does not fit" "not divisible" "$cafx" sweep run "$work/bad.toml" --store "$work/runs"
tiny_sweep "$work/bad.toml" bad '[1e-3]' '[1]' 3
sed -i 's|^path = .*|path = "/nowhere"|' "$work/bad.toml"
refuses "no recordings" "/nowhere" "$cafx" sweep run "$work/bad.toml" --store "$work/runs"
refuses "a worker without a run" "task.json is missing" "$cafx" sweep worker "$work"
finish
