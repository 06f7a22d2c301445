#!/usr/bin/env bash
# `cafx train --seeds`: every seed's run is the run alone, to the byte; stopped or killed, all go on; the table's numbers.
. "$(dirname "$0")/common.sh"
short_notes
run=("${short[@]}" --set train.pretrain_epochs=1 --set train.epochs=3 --set train.refine_epochs=1)

"$cafx" train "${run[@]}" --set train.seed=4 --seeds 3 --out "$work/seeds" --json >"$work/out" 2>"$work/err" || fail "train --seeds: $(cat "$work/err")"
for seed in 4 5 6; do
  "$cafx" train "${run[@]}" --set train.seed=$seed --out "$work/alone$seed" >/dev/null 2>"$work/err" || fail "seed $seed alone: $(cat "$work/err")"
  for file in best.safetensors checkpoint.safetensors metrics.csv result.json config.toml data.json split.json; do
    cmp "$work/alone$seed/$file" "$work/seeds/seed-$seed/$file" || fail "seed $seed: $file differs from the run alone"
  done
done
python3 - "$work" <<'END' || fail "the numbers over seeds"
import json, statistics, sys
work = sys.argv[1]
said = json.load(open(work + "/out"))
alone = [json.load(open(f"{work}/alone{seed}/result.json"))["validation_mae"] for seed in (4, 5, 6)]
assert [s["seed"] for s in said["seeds"]] == [4, 5, 6]
assert abs(said["mean"]["validation_mae"] - statistics.mean(alone)) < 1e-8, said["mean"]
assert abs(said["interval"]["validation_mae"] - 4.30265 * statistics.stdev(alone) / 3 ** 0.5) < 1e-6, said["interval"]
assert json.load(open(work + "/seeds/result.json")) == said
END

# What a cohort takes: on a CPU the memory of a block, however long the segment.
for seconds in 0.5 2; do "$cafx" info --preset lstm --cohort 3 --set train.segment_seconds=$seconds --json >"$work/info$seconds" || fail "info --cohort"; done
python3 - "$work" <<'END' || fail "what info says of a cohort"
import json, sys
short, long = (json.load(open(f"{sys.argv[1]}/info{seconds}"))["cohort"] for seconds in ("0.5", "2"))
assert short["members"] == 3 and short["bytes"] == 3 * short["bytes_each"] > 0, short
assert short["bytes_each"] == long["bytes_each"], (short, long)
END
# Its checkpoint lies there twice, four numbers of four bytes for each parameter, beside the five that training takes.
"$cafx" info --preset default --cohort 1 --json >"$work/info" || fail "info --cohort"
python3 - "$work/info" <<'END' || fail "what info says of a checkpoint in memory"
import json, sys
info = json.load(open(sys.argv[1]))
parameters = sum(layer["parameters"] for layer in info["layers"])
assert info["cohort"]["bytes_each"] > (5 + 2 * 4) * 4 * parameters + 8e6, (info["cohort"], parameters)
END

# The page about them: the numbers of the table, a curve for each, links to their folders.
"$cafx" report "$work/seeds" >"$work/out" 2>"$work/err" || fail "report of seeds: $(cat "$work/err")"
grep -qx "$work/seeds/report.html" "$work/out" || fail "report says where the page is: $(cat "$work/out")"
python3 - "$work" <<'END' || fail "the page about seeds"
import json, sys
work = sys.argv[1]
page, said = open(work + "/seeds/report.html").read(), json.load(open(work + "/seeds/result.json"))
figure = lambda v: f"{v:.2e}" if abs(v) < 1e-4 else f"{v:.{5 if abs(v) < 0.1 else 3}f}"
for row, name in ("mean", "mean"), ("interval", "95 % interval, ±"):
    assert f"<td>{name}</td><td>{figure(said[row]['validation_mae'])}</td>" in page, row
for seed in said["seeds"]:
    assert f'<a href="{seed["folder"]}/">{seed["seed"]}</a></td><td>{figure(seed["result"]["validation_mae"])}</td>' in page, seed
    assert f"seed {seed['seed']}" in page
END
refuses "a model of a folder of seeds" "it holds runs; name one of them, such as $work/seeds/seed-" "$cafx" info "$work/seeds"
refuses "notes of a folder of seeds" "give --part and --hop with one of them, as 'cafx report $work/seeds/seed-4'" "$cafx" report "$work/seeds" --part train

# Ctrl-C, then kill -9, then on to the end: the bytes of the undisturbed one.
CAFX_CHECKPOINT_SECONDS=0 "$cafx" train "${run[@]}" --set train.seed=4 --seeds 3 --out "$work/again" >/dev/null 2>"$work/err" &
pid=$!
for _ in $(seq 1000); do
  [ -f "$work/again/seed-6/checkpoint.safetensors" ] && break
  sleep 0.01
done
kill -INT $pid
wait $pid
[ $? = 130 ] || fail "Ctrl-C ends with 130: $(cat "$work/err")"
grep -q "cafx resume $work/again" "$work/err" || fail "Ctrl-C says how to go on: $(cat "$work/err")"
refuses "a report before all have ended" "cafx resume $work/again" "$cafx" report "$work/again"
CAFX_CHECKPOINT_SECONDS=0 timeout -s KILL 0.2 "$cafx" resume "$work/again" --quiet >/dev/null 2>&1
"$cafx" resume "$work/again" --quiet >"$work/out" 2>"$work/err" || fail "resume: $(cat "$work/err")"
grep -q "95 % interval" "$work/out" || fail "resume ends with the table: $(cat "$work/out")"
for seed in 4 5 6; do
  cmp "$work/seeds/seed-$seed/best.safetensors" "$work/again/seed-$seed/best.safetensors" || fail "seed $seed after kills"
done

# One that was removed begins anew, and ends with the bytes that it had.
rm -r "$work/again/seed-5"
"$cafx" resume "$work/again" --quiet >"$work/out" 2>"$work/err" || fail "resume without seed 5: $(cat "$work/err")"
cmp "$work/seeds/seed-5/best.safetensors" "$work/again/seed-5/best.safetensors" || fail "seed 5 anew"

# One breaks down: it is told, the others end, the code says it.
"$cafx" train "${run[@]}" --seeds 2 --set train.lr=10 --set train.weight_decay=10 --set train.warmup_steps=0 --out "$work/nan" >"$work/out" 2>"$work/err"
[ $? = 2 ] || fail "seeds that break down end with 2"
grep -q "none of the 2 seeds.*broke down" "$work/err" || fail "what became of each seed: $(cat "$work/out" "$work/err")"
[ ! -e "$work/nan/result.json" ] || fail "seeds of which none was trained have no result"
refuses "a folder that holds seeds" "cafx resume" "$cafx" train "${run[@]}" --seeds 2 --out "$work/seeds"

# Results are never written over, whichever kind of folder they are in.
refuses "one run in a folder of seeds" "holds the runs of several seeds" "$cafx" train "${run[@]}" --out "$work/seeds"
cp -r "$work/alone4" "$work/kept"
refuses "seeds in the folder of a run" "holds a run already" "$cafx" train "${run[@]}" --seeds 2 --out "$work/kept"
mkdir "$work/over"
mv "$work/kept" "$work/over/seed-4"
refuses "seeds over a run" "over/seed-4: holds a run already" "$cafx" train "${run[@]}" --set train.seed=4 --seeds 2 --out "$work/over"
rm "$work/over/seed-4"/checkpoint*
refuses "a run over a finished one" "whose checkpoint is gone" "$cafx" train "${run[@]}" --out "$work/over/seed-4"
diff -r -x 'checkpoint*' "$work/alone4" "$work/over/seed-4" || fail "a run that was refused a neighbour has changed"

# A seed that does not fit 32 bits begins anew as itself.
"$cafx" train "${run[@]}" --set train.seed=3000000000 --seeds 2 --out "$work/large" >/dev/null 2>"$work/err" || fail "large seeds: $(cat "$work/err")"
cp "$work/large/seed-3000000001/best.safetensors" "$work/before"
rm -r "$work/large/seed-3000000001"
"$cafx" resume "$work/large" --quiet >/dev/null 2>"$work/err" || fail "resume of large seeds: $(cat "$work/err")"
cmp "$work/before" "$work/large/seed-3000000001/best.safetensors" || fail "a large seed anew"
finish
