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
  for gain in 0 5 10; do
    mkdir -p "$work/data/gain$gain"
    sox "$work/data/dry/$n.wav" "$work/data/gain$gain/$n.wav" overdrive $((5 + 2 * gain)) 0 gain -6 2>/dev/null || fail "sox"
  done
done
data=("$work/data" --set 'data.pattern=gain{knob:gain}/{note}' --set 'data.dry_pattern=dry/{note}')
refuses "settings that are mixed" "or let a model learn it as a knob" "$cafx" train "${data[@]}" --preset lstm-nano --quiet
refuses "a type without knobs" "have no knobs; those of type lstm and s4" \
  "$cafx" train "${data[@]}" --set 'data.knobs=gain: 0..10' --preset default --quiet
refuses "a knob's range" "gain = 10 is out of its range, 0 to 9 dB" \
  "$cafx" train "${data[@]}" --set 'data.knobs=gain: 0..9 dB' --preset lstm-nano --quiet
knob=(--set 'data.knobs=gain: 0..10 dB')
"$cafx" train "${data[@]}" "${knob[@]}" --preset lstm-nano --set train.epochs=3 --set data.split=knobs --quiet --device cpu \
  --out "$work/run" >"$work/out" 2>&1 || fail "train: $(tail -3 "$work/out")"
"$cafx" eval "$work/run" --part validation >"$work/out" 2>&1 || fail "eval: $(tail -3 "$work/out")"
"$cafx" info "$work/run" | grep -q "^knob gain: 0 to 10 dB, at first 5 dB" || fail "info does not show the knob"
grep -q '"gain"' "$work/run/split.json" || fail "split.json does not tell where the knob stood"
# render NAME ARGUMENTS...: the file's sum.
render() {
  "$cafx" render "$work/run" "$work/data/dry/1.wav" "$work/$1.wav" --quiet "${@:2}" >"$work/out" 2>&1 || fail "render $*: $(cat "$work/out")"
  sox "$work/$1.wav" -t f32 - 2>/dev/null | sha256sum
}
[ "$(render a --knob gain=2)" = "$(render b --knob gain=2 --stream --block 64)" ] || fail "a stream has other bits"
[ "$(render c --knob gain=2)" = "$(render d --knob gain=9)" ] && fail "the knob does nothing"
[ "$(render e)" = "$(render f --knob 'gain=5 dB')" ] || fail "a knob that is not named stands at its start"
refuses "out of range" "gain = 12 is out of its range, 0 to 10 dB" "$cafx" render "$work/run" "$work/data/dry/1.wav" "$work/x.wav" --knob gain=12
refuses "an unknown knob" 'did you mean "gain"' "$cafx" render "$work/run" "$work/data/dry/1.wav" "$work/x.wav" --knob gian=1
refuses "a .nam of all positions" "choose it, as --knob gain=5" "$cafx" export "$work/run" -o "$work/m.nam"
"$cafx" export "$work/run" -o "$work/m.nam" --knob gain=2 >"$work/out" 2>&1 || fail "export: $(cat "$work/out")"
"$cafx" import "$work/m.nam" -o "$work/baked.safetensors" >"$work/out" 2>&1 || fail "import of the baked model: $(cat "$work/out")"
"$cafx" render "$work/baked.safetensors" "$work/data/dry/1.wav" "$work/baked.wav" --quiet || fail "render of the baked model"
sox -m -v 1 "$work/baked.wav" -v -1 "$work/a.wav" -n stat 2>"$work/stat"
awk '/Maximum amplitude/ {exit !($3 < 1e-4)}' "$work/stat" || fail "baked: $(grep Maximum "$work/stat")"
finish
