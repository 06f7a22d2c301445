#!/usr/bin/env bash
# `cafx train --json` for programs: one object on standard output, or nothing and a code; and the Optuna example, with
# Optuna or, where Python has none, with a stand-in of the few calls it uses. Ten seconds.
. "$(dirname "$0")/common.sh"
small+=(--set data.effect=Distortion --set train.pretrain_epochs=1 --set train.epochs=2 --set train.refine_epochs=0)

"$cafx" train "${small[@]}" --set train.lr=2e-3 --set train.seed=7 --json --out "$work/run" >"$work/out" 2>"$work/err" || fail "train --json: $(cat "$work/err")"
[ "$(wc -l <"$work/out")" = 1 ] || fail "one line: $(cat "$work/out")"
python3 - "$work" <<'END' || fail "what --json says"
import json, math, sys
work = sys.argv[1]
said = json.loads(open(work + "/out").read())
result = json.load(open(work + "/run/result.json"))
for key, value in result.items():
    assert said[key] == value, (key, said[key], value)
assert said["folder"] == work + "/run" and said["seconds"] > 0
assert 0 < said["validation_mae"] < 1 and math.isfinite(said["validation_mae"])
assert said["test"]["mean"]["mae"] == json.load(open(work + "/run/eval.json"))["mean"]["mae"]
config = open(work + "/run/config.toml").read()
assert "lr = 0.002" in config and "seed = 7" in config
END
"$cafx" resume "$work/run" --json --quiet >"$work/again" || fail "resume --json"
python3 - "$work" <<'END' || fail "resume --json says the same"
import json, sys
a, b = (json.load(open(sys.argv[1] + name)) for name in ("/out", "/again"))
assert a["validation_mae"] == b["validation_mae"] and a["test"] == b["test"]
END
# Without a result there is no object: a program sees the code, a human the line.
refuses "an unknown key" "did you mean" "$cafx" train "${small[@]}" --set train.lrr=1 --json --out "$work/bad"
[ ! -s "$work/out" ] || fail "an object without a result: $(cat "$work/out")"
refuses "a run that breaks down" "broke down" "$cafx" train "${small[@]}" --set train.lr=10 --set train.weight_decay=10 \
  --set train.warmup_steps=0 --json --out "$work/nan"
[ ! -s "$work/out" ] || fail "an object of a run that broke down: $(cat "$work/out")"

if ! python3 -c "import optuna" 2>/dev/null; then
  echo "no Optuna: its example is run with a stand-in"
  mkdir "$work/python"
  cat >"$work/python/optuna.py" <<'END'
class Trial:
    def __init__(self, number): self.number = number
    def suggest_float(self, name, low, high, log=False): return low * (high / low) ** (0.25 * (self.number + 1))
    def suggest_categorical(self, name, values): return values[self.number % len(values)]
class Study:
    def optimize(self, objective, n, catch=()):
        done = []
        for number in range(n):
            try: done.append((objective(Trial(number)), number))
            except catch: pass
        self.best_value, best = min(done)
        self.best_trial, self.best_params = Trial(best), {}
def create_study(study_name, storage, load_if_exists): return Study()
END
  export PYTHONPATH=$work/python
fi
settings=()
for word in "${small[@]}"; do [[ $word == *=* ]] && settings+=("$word"); done
binary=$(realpath "$cafx")
cd "$work" && python3 "$root/experiments/optuna/search.py" "$binary" 3 "${settings[@]}" >out 2>err || fail "the Optuna example: $(cat err)"
grep -q "^best: validation_mae 0\.[0-9]* at" out || fail "the Optuna example says what is best: $(cat out)"
[ "$(ls runs/optuna/*/best.safetensors | wc -l)" = 3 ] || fail "three trials: $(ls runs/optuna)"
finish
