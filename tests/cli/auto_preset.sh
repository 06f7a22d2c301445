#!/usr/bin/env bash
# `--preset auto`: what is chosen for the shipped notes through effects, what is said of it and kept, where it is refused. Half a minute.
. "$(dirname "$0")/common.sh"
quick=(--set train.pretrain_epochs=0 --set train.epochs=1 --set train.refine_epochs=0)
notes=("$root/datasets/notes" --set data.test_notes=G61-55400,G71-55400)
# becomes PRESET WORDS ARGUMENTS...: a training of the shipped notes, what its folder has and what it says.
becomes() {
  local preset=$1 words=$2
  shift 2
  rm -rf "$work/run"
  "$cafx" train "${notes[@]}" "${quick[@]}" "$@" --out "$work/run" >"$work/out" 2>"$work/err" || fail "$*: $(tail -3 "$work/err")"
  grep -q "^preset = \"$preset\"" "$work/run/config.toml" || fail "$*: $(grep '^preset' "$work/run/config.toml")"
  grep -q "auto: preset $preset, because .*$words" "$work/err" || fail "$*: '$words' is not said: $(cat "$work/err")"
  grep -q "\"preset\": \"$preset\"" "$work/run/result.json" || fail "$*: result.json does not have it"
}
tremolo=(--set 'data.chain=tremolo 5 60')
becomes crafx-small "5.0 times a second" --preset auto "${tremolo[@]}" --set train.hop=1024
grep -q '"because": ".*tremolo' "$work/run/data.json" || fail "data.json does not say why"
"$cafx" report "$work/run" -o "$work/report.html" >"$work/out" 2>&1 || fail "report: $(cat "$work/out")"
grep -q "Preset crafx-small, chosen from the recordings: its gain moves by itself" "$work/report.html" || fail "the report does not say it"
becomes lstm "without latency" --preset auto --latency none "${tremolo[@]}"
becomes default "bends the waveform" --set preset=auto --set data.setting=2 --set train.hop=1024
printf 'preset = "auto"\n[data]\nreader = "idmt"\npath = "%s"\nchain = "tremolo 5 60"\n[train]\nhop = 1024\n' "$root/datasets/notes" >"$work/auto.toml"
notes=(--config "$work/auto.toml")
becomes crafx-small "tremolo"
notes=("$root/datasets/notes" --set data.instrument=guitar --set data.test_notes=G61,G71)
becomes default "Not sure, so that it is the usual one" --preset auto "${tremolo[@]}" --set train.hop=1024

small_notes=("$root/datasets/notes" --set data.setting=2)
refuses "type" "chooses the type of model" "$cafx" train "${small_notes[@]}" --preset auto --set model.type=lstm
refuses "latency alone" "is for --preset auto" "$cafx" train "${small_notes[@]}" --latency none
refuses "knobs" "one position of its knobs" "$cafx" train "${small_notes[@]}" --preset auto --set 'data.knobs=gain: 0..10 dB'
refuses "info" "by 'cafx train --preset auto'" "$cafx" info --preset auto
printf 'preset = "auto"\n[data]\npath = "%s"\nsetting = 2\n[axes]\ntrain.seed = [1, 2]\n' "$root/datasets/notes" >"$work/sweep.toml"
refuses "sweep" "sweep.toml: preset = \"auto\" is chosen by" "$cafx" sweep plan "$work/sweep.toml"
finish
