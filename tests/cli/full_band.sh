#!/usr/bin/env bash
# Recordings of 44.1 or 48 kHz are trained at their own rate where the user decides nothing, and it is said. Seconds.
. "$(dirname "$0")/common.sh"
command -v sox >/dev/null || { echo "skipped: no sox"; exit 77; }
quick=(--set train.pretrain_epochs=0 --set train.epochs=1 --set train.refine_epochs=0 --set model.filters=4 --set 'model.dnn=[4]')
for rate in 16000 44100 48000 96000; do
  sox -n -r $rate -c 1 -b 24 "$work/dry$rate.wav" synth 6 pluck E2 gain -12 2>/dev/null
  sox "$work/dry$rate.wav" "$work/wet$rate.wav" overdrive 20 0 2>/dev/null || fail "sox"
done
# is_of EXPECTED-RATE ARGUMENTS...: the rate of a training of these recordings.
is_of() {
  local expected=$1
  shift
  rm -rf "$work/run"
  "$cafx" train "${quick[@]}" "$@" --out "$work/run" >"$work/out" 2>"$work/err" || fail "$*: $(tail -3 "$work/err")"
  grep -q "^sample_rate = $expected" "$work/run/config.toml" || fail "$*: $(grep '^sample_rate' "$work/run/config.toml")"
}
sox -M "$work/dry48000.wav" "$work/wet48000.wav" "$work/both.wav" || fail "sox"
is_of 48000 "$work/both.wav" --set data.dry_channel=left --set data.wet_channel=right
is_of 44100 --set data.reader=files --set "data.dry=$work/dry44100.wav" --set "data.wet=$work/wet44100.wav"
is_of 48000 --set data.reader=files --set "data.dry=$work/dry48000.wav" --set "data.chain=overdrive 20 0"
# Of a folder the lowest, whatever its file is called.
mkdir "$work/dry" "$work/wet"
for side in dry wet; do
  cp "$work/${side}48000.wav" "$work/$side/a.wav"
  sox "$work/${side}48000.wav" -r 16000 "$work/$side/b.wav" || fail "sox"
done
is_of 16000 "$work/dry" "$work/wet"
rm "$work"/{dry,wet}/b.wav
is_of 48000 "$work/dry" "$work/wet"

# becomes RATE EXPECTED-RATE PRESET ARGUMENTS...: what a training of the recordings of RATE is.
becomes() {
  local rate=$1 expected=$2 preset=$3
  shift 3
  rm -rf "$work/run"
  "$cafx" train "$work/dry$rate.wav" "$work/wet$rate.wav" "${quick[@]}" "$@" --out "$work/run" >"$work/out" 2>"$work/err" ||
    fail "$rate Hz $*: $(tail -3 "$work/err")"
  grep -q "^sample_rate = $expected" "$work/run/config.toml" && grep -q "^preset = \"$preset\"" "$work/run/config.toml" ||
    fail "$rate Hz $*: $(grep -E '^(sample_rate|preset)' "$work/run/config.toml")"
}
becomes 16000 16000 default
grep -q "preset full" "$work/err" && fail "16 kHz: says it is the full band"
becomes 44100 44100 full
grep -q "preset full, a model of 44100 Hz; --preset default makes one of 16000 Hz" "$work/err" ||
  fail "44.1 kHz: it is not said: $(cat "$work/err")"
grep -q "^frame = 2816" "$work/run/config.toml" && grep -q "^pool = 44" "$work/run/config.toml" || fail "44.1 kHz: other sizes"
becomes 48000 48000 full-48k
grep -q "^frame = 3072" "$work/run/config.toml" && grep -q "^taps = 192" "$work/run/config.toml" || fail "48 kHz: other sizes"
becomes 96000 48000 full-48k
becomes 48000 48000 full-48k --preset full
becomes 48000 16000 default --preset default
grep -q "preset full" "$work/err" && fail "a preset that was asked for is not taken"
becomes 48000 32000 default --set model.sample_rate=32000
becomes 48000 32000 default --rate 32000
becomes 48000 44100 full --rate 44100
becomes 16000 48000 full-48k --rate 48000
becomes 48000 48000 default --preset default --rate 48000
becomes 96000 16000 default --rate 16000
grep -q "96000 Hz are resampled to 16000 Hz.*--rate 96000 keeps it" "$work/out" "$work/err" || fail "what is lost is not said: $(cat "$work/out" "$work/err")"
becomes 44100 16000 default --set model.hop=256
finish
