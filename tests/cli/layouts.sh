#!/usr/bin/env bash
# Data sets by their layout: the folder is enough, and what is wrong with it is one sentence. Seconds.
. "$(dirname "$0")/common.sh"
quick=(--set train.pretrain_epochs=0 --set train.epochs=1 --set train.refine_epochs=0 --set model.filters=4 --set 'model.dnn=[4]')
notes="$root/datasets/notes/Gitarre monophon/Samples"
mkdir -p "$work/egdb/audio_DI" "$work/egdb/audio_DS1" "$work/egdb/audio_EQ"
n=0
for dry in "$notes"/NoFX/*.flac; do
  note=$(basename "$dry" | cut -c1-9)
  wet=("$notes"/Distortion/"$note"*.flac)
  n=$((n + 1))
  cp "$dry" "$work/egdb/audio_DI/$n.flac" && cp "${wet[0]}" "$work/egdb/audio_DS1/$n.flac"
done
# says TEXT COMMAND...: the command's output or error holds TEXT.
says() {
  local text=$1
  shift
  "$@" >"$work/out" 2>&1
  grep -qF "$text" "$work/out" || fail "$* does not say '$text': $(tail -4 "$work/out")"
}
says "is read as egdb, 12 pairs" "$cafx" data check "$work/egdb"
"$cafx" train "$work/egdb" "${quick[@]}" --out "$work/run" >"$work/out" 2>&1 || fail "train FOLDER: $(tail -3 "$work/out")"
grep -q '^reader = "egdb"' "$work/run/config.toml" || fail "the run does not name its reader"
"$cafx" eval "$work/run" >"$work/out" 2>&1 || fail "eval of the run: $(tail -3 "$work/out")"
cp "$work/egdb/audio_DS1/1.flac" "$work/egdb/audio_EQ/1.flac"
says "data.select=device=DS1" "$cafx" train "$work/egdb" "${quick[@]}" --out "$work/mixed"
[ -e "$work/mixed/best.safetensors" ] && fail "two devices were mixed"
"$cafx" data check "$work/egdb" --set data.select=device=DS1 >/dev/null 2>&1 || fail "a device that was chosen is refused"
mkdir "$work/egdb/train" && cp "$work/egdb/audio_DI/1.flac" "$work/egdb/train/a-input.flac" &&
  cp "$work/egdb/audio_DS1/1.flac" "$work/egdb/train/a-target.flac"
says "in more than one way, as egdb (13 pairs) or as coreaudioml (1 pairs)" "$cafx" data check "$work/egdb"
says "is read as coreaudioml" "$cafx" data check "$work/egdb" --set data.reader=coreaudioml
says "is read as a manifest, 2 pairs" bash -c "printf 'dry,wet,knob:gain\n%s\n%s\n' egdb/audio_DI/1.flac,egdb/audio_DS1/1.flac,3 \
  egdb/audio_DI/2.flac,egdb/audio_DS1/2.flac,3 >'$work/m.csv'; '$cafx' data check '$work/m.csv'"
says "m.csv, row 3: the dry file 'x.wav' does not exist" bash -c "sed -i '3s/^[^,]*/x.wav/' '$work/m.csv'; '$cafx' train '$work/m.csv'"
says "12 pairs" "$cafx" data check "$work/egdb" --set 'data.pattern=audio_DS1/{note}' --set 'data.dry_pattern=audio_DI/{note}'
says 'data.pattern = "{note": a { has no } behind it' "$cafx" data check "$work/egdb" --set 'data.pattern={note'
mkdir "$work/empty"
says "in no other layout" "$cafx" train "$work/empty"
mkdir -p "$work/session/DI" "$work/session/Reamp"
touch "$work/session/DI/take.wav" "$work/session/Reamp/take.wav"
says "cafx train $work/session/DI $work/session/Reamp'" "$cafx" train "$work/session"
mkdir -p "$work/two/Boosted" "$work/two/Clean"
touch "$work/two/Boosted/take.wav" "$work/two/Clean/take.wav"
says "dry first, as 'cafx train $work/two/Clean $work/two/Boosted'" "$cafx" data check "$work/two"
# Three and more: how they are given together.
for gain in 0 5; do
  mkdir -p "$work/three/gain $gain" "$work/three/dry"
  cp "$work/egdb/audio_DI/1.flac" "$work/three/dry/" && cp "$work/egdb/audio_DS1/1.flac" "$work/three/gain $gain/"
done
says "$work/three --set 'data.pattern=gain {knob:gain}/{note}' --set 'data.dry_pattern=dry/{note}'" \
  "$cafx" train "$work/three/dry" "$work/three/gain 0" "$work/three/gain 5"
says "several takes are given as two folders" "$cafx" data check "$work"/egdb/audio_DI/{1,2,3}.flac
# What it says is typed as it stands there.
mkdir "$work/egdb/audio_A, B"
mv "$work/egdb/audio_EQ/1.flac" "$work/egdb/audio_A, B/1.flac"
"$cafx" data check "$work/egdb" --set data.reader=egdb >"$work/out" 2>&1
option=$(sed -n "s/.*choose one, as \(--set '[^']*'\).*/\1/p" "$work/out" | head -1)
[ -n "$option" ] || fail "no device is offered: $(cat "$work/out")"
eval "\"\$cafx\" data check \"\$work/egdb\" --set data.reader=egdb $option" >"$work/out" 2>&1
grep -q "^1 pair," "$work/out" || fail "$option does not choose: $(head -3 "$work/out")"
finish
