#!/usr/bin/env bash
# A model with a knob, from a folder to a file: trained at positions, played between them, refused out of range. Seconds.
. "$(dirname "$0")/common.sh"
command -v sox >/dev/null || { echo "skipped: no sox"; exit 77; }
mkdir -p "$work/data/dry"
n=0
for note in "$root/datasets/notes/Gitarre monophon/Samples/NoFX"/*.flac; do
  n=$((n + 1))
  [ $n = 5 ] && break
  sox "$note" "$work/data/dry/$n.wav" trim 0.1 0.5 2>/dev/null || fail "sox"
  for gain in 0 5 7 10; do
    mkdir -p "$work/data/gain$gain"
    sox "$work/data/dry/$n.wav" "$work/data/gain$gain/$n.wav" overdrive $((5 + 2 * gain)) 0 gain -6 2>/dev/null || fail "sox"
  done
done
data=("$work/data" --set 'data.pattern=gain{knob:gain}/{note}' --set 'data.dry_pattern=dry/{note}')
refuses "settings that are mixed" "or let a model learn it as a knob" "$cafx" train "${data[@]}" --preset lstm-nano --quiet
refuses "a type without knobs" "have no knobs; those of type cafx, lstm, s4 and wavenet" \
  "$cafx" train "${data[@]}" --set 'data.knobs=gain: 0..10' --preset eq-net --quiet
refuses "a knob's range" "gain = 10 is out of its range, 0 to 9 dB" \
  "$cafx" train "${data[@]}" --set 'data.knobs=gain: 0..9 dB' --preset lstm-nano --quiet
knob=(--set 'data.knobs=gain: 0..10 dB')
refuses "knobs that are set one by one" "one has them all: --set 'data.knobs=\[\"gain: 0..10 dB\", \"tone: 0..1\"\]'" \
  "$cafx" train "${data[@]}" "${knob[@]}" --set 'data.knobs=tone: 0..1' --preset lstm-nano --quiet
"$cafx" train "${data[@]}" "${knob[@]}" --preset lstm-nano --set train.epochs=3 --set data.split=knobs --quiet --device cpu \
  --out "$work/run" >"$work/out" 2>&1 || fail "train: $(tail -3 "$work/out")"
"$cafx" eval "$work/run" --part validation >"$work/out" 2>&1 || fail "eval: $(tail -3 "$work/out")"
grep -q "was trained on" "$work/out" && fail "positions that it never saw are called trained: $(cat "$work/out")"
grep -q "^1 gain=\|^[2-4] gain=" "$work/out" || fail "eval does not say where the knob stood: $(cat "$work/out")"
"$cafx" info "$work/run" | grep -q "^knob gain: 0 to 10 dB, at first 5 dB" || fail "info does not show the knob"
grep -q '"gain"' "$work/run/split.json" || fail "split.json does not tell where the knob stood"
# render NAME ARGUMENTS...: the file's sum.
run=$work/run
render() {
  "$cafx" render "$run" "$work/data/dry/1.wav" "$work/$1.wav" --quiet "${@:2}" >"$work/out" 2>&1 || fail "render $*: $(cat "$work/out")"
  sox "$work/$1.wav" -t f32 - 2>/dev/null | sha256sum
}
# is_turned: the knob is heard, in a stream to the same bits.
is_turned() {
  [ "$(render a --knob gain=2)" = "$(render b --knob gain=2 --stream --block 64)" ] || fail "$run: a stream has other bits"
  [ "$(render c --knob gain=2)" = "$(render d --knob gain=9)" ] && fail "$run: the knob does nothing"
}
is_turned
[ "$(render e)" = "$(render f --knob 'gain=5 dB')" ] || fail "a knob that is not named stands at its start"
"$cafx" render "$work/run" "$work/data/dry/1.wav" "$work/said.wav" >"$work/out" 2>&1
grep -q "played at gain = 5 dB" "$work/out" || fail "render does not say where a knob stood: $(cat "$work/out")"
refuses "out of range" "gain = 12 is out of its range, 0 to 10 dB" "$cafx" render "$work/run" "$work/data/dry/1.wav" "$work/x.wav" --knob gain=12
refuses "an unknown knob" "did you mean 'gain'" "$cafx" render "$work/run" "$work/data/dry/1.wav" "$work/x.wav" --knob gian=1
"$cafx" export "$work/run" -o "$work/all.nam" >"$work/out" 2>&1 || fail "export: $(cat "$work/out")"
grep -q "parametric fork" "$work/out" || fail "it does not say which hosts read a .nam with knobs: $(cat "$work/out")"
grep -q '"params":\[{"name":"gain","min":0.0,"max":10.0,"default":5.0,"type":"continuous"' "$work/all.nam" || fail "no params"
if "$cafx" --version | grep -q libonnx; then
  refuses "an ONNX file of all positions" "choose it, as --knob gain=5" "$cafx" export "$work/run" -o "$work/m.onnx"
  "$cafx" export "$work/run" -o "$work/m.onnx" --knob gain=2 >"$work/out" 2>&1 || fail "export: $(cat "$work/out")"
fi
"$cafx" export "$work/run" -o "$work/m.nam" --knob gain=2 >"$work/out" 2>&1 || fail "export: $(cat "$work/out")"
grep -q "^at gain = 2 dB for good" "$work/out" || fail "it does not say where the knob is baked in: $(cat "$work/out")"
grep -q '"knobs":"gain = 2 dB"' "$work/m.nam" || fail "the file does not hold where the knob stands"
grep -q "validation_esr" "$work/all.nam" || fail "a file of all positions does not hold its error"
grep -q "validation_esr\|quality" "$work/m.nam" && fail "a file of one position holds the error over all"
"$cafx" export "$work/run" -o "$work/all.safetensors" >"$work/out" 2>&1 || fail "export: $(cat "$work/out")"
"$cafx" import "$work/all.safetensors" --set model.sample_rate=48000 -o "$work/other_rate.safetensors" >"$work/out" 2>&1 || fail "import: $(cat "$work/out")"
grep -q "changes the config that these weights were trained with" "$work/out" || fail "another rate is imported without a word: $(cat "$work/out")"
grep -aq "validation_esr\|run_hash" "$work/other_rate.safetensors" && fail "a model of another rate holds what the first was measured to be"
"$cafx" import "$work/all.safetensors" -o "$work/same.safetensors" >"$work/out" 2>&1 || fail "import: $(cat "$work/out")"
grep -aq "run_hash" "$work/same.safetensors" || fail "an import as it is loses whose weights it holds"
refuses "one position in a file of all" "safetensors has the knobs themselves" "$cafx" export "$work/run" -o "$work/m.safetensors" --knob gain=2
# The .nam by NAM's formula, without knobs, beside the model at that position.
sox "$work/data/dry/1.wav" -t f32 "$work/x.f32" trim 0 4000s 2>/dev/null && sox "$work/a.wav" -t f32 "$work/y.f32" trim 0 4000s 2>/dev/null
python3 - "$work" <<'PYTHON' || fail "the baked model plays something else"
import array, json, math, sys
nam = json.load(open(sys.argv[1] + "/m.nam"))
assert nam["config"]["input_size"] == 1, nam["config"]
H, w = nam["config"]["hidden_size"], iter(nam["weights"])
rows = [[next(w) for _ in range(1 + H)] for _ in range(4 * H)]
bias, h, c, head = ([next(w) for _ in range(n)] for n in (4 * H, H, H, H + 1))
x, y = (array.array("f", open(sys.argv[1] + "/" + name, "rb").read()) for name in ("x.f32", "y.f32"))
sigmoid = lambda v: 1.0 / (1.0 + math.exp(-v))
worst = 0.0
for sample, played in zip(x, y):
    z = [b + r[0] * sample + sum(a * v for a, v in zip(r[1:], h)) for r, b in zip(rows, bias)]
    c = [sigmoid(z[H + k]) * c[k] + sigmoid(z[k]) * math.tanh(z[2 * H + k]) for k in range(H)]
    h = [sigmoid(z[3 * H + k]) * math.tanh(c[k]) for k in range(H)]
    worst = max(worst, abs(sum(a * v for a, v in zip(head, h)) + head[H] - played))
print("largest difference", worst)
sys.exit(not worst < 1e-4)
PYTHON
# The other types that have knobs, a CAFx both ways and pretrained before.
small=(--preset default --set model.filters=8 --set 'model.dnn=[8, 8]' --set train.pretrain_epochs=1 --set train.hop=512)
for what in wavenet film latent; do
  run=$work/$what
  case $what in
    wavenet) options=(--preset wavenet-nano) ;;
    *) options=("${small[@]}" --set "model.knob_layers=$what") ;;
  esac
  "$cafx" train "${data[@]}" "${knob[@]}" "${options[@]}" --set train.epochs=2 --set train.refine_epochs=0 --quiet --device cpu --out "$run" \
    >"$work/out" 2>&1 || fail "train $what: $(tail -3 "$work/out")"
  is_turned
done
"$cafx" export "$work/wavenet" -o "$work/w.nam" >"$work/out" 2>&1 || fail "export: $(cat "$work/out")"
grep -q '"architecture":"FiLMWaveNet"' "$work/w.nam" || fail "no FiLMWaveNet"
refuses "a .nam of a CAFx" "make a student of it" "$cafx" export "$work/film" -o "$work/c.nam"
# Its student has its knobs, learns them from what it makes at their positions, and becomes a .nam.
"$cafx" distill "$work/film" --preset lstm-nano --set train.epochs=3 --quiet --device cpu --out "$work/student" >"$work/out" 2>&1 ||
  fail "a student of a model with knobs: $(tail -3 "$work/out")"
run=$work/student
is_turned
"$cafx" export "$run" -o "$work/s.nam" >"$work/out" 2>&1 || fail "export: $(cat "$work/out")"
grep -q '"params":\[{"name":"gain"' "$work/s.nam" || fail "the student's .nam has no params"
refuses "a teacher of other knobs" "has the knobs \[gain: 0..10 dB\]" "$cafx" distill "$work/film" --set 'data.knobs=gain: 0..10' \
  --preset lstm-nano --quiet --out "$work/other"
"$cafx" train "$work/data/dry" "$work/data/gain5" --preset lstm-nano --set train.epochs=1 --quiet --device cpu --out "$work/plain" >"$work/out" 2>&1 ||
  fail "train without knobs: $(tail -3 "$work/out")"
refuses "a teacher without knobs" "makes the same targets at all positions" \
  "$cafx" train "${data[@]}" "${knob[@]}" --set teacher.model="$work/plain" --preset lstm-nano --quiet --out "$work/other"
finish
