#!/usr/bin/env bash
# `cafx render --stream` writes the bytes of the offline render, for every hop, block, rate and number of threads; says its
# latency; and refuses what it cannot do. About 4 s.
. "$(dirname "$0")/common.sh"
"$cafx" train "${small[@]}" --set train.epochs=1 --set train.pretrain_epochs=0 --set train.refine_epochs=0 --out "$work/run" >/dev/null ||
  fail "the training"
note=$(find "$root/datasets/notes" -name 'G61-55400*' | sort | head -1)
[ -n "$note" ] || fail "no note G61-55400 in datasets/notes"
for hop in 128 96 64 17; do
  "$cafx" render "$work/run" "$note" "$work/offline.wav" --hop $hop --threads 2 --quiet >/dev/null 2>"$work/err" ||
    fail "offline, hop $hop: $(cat "$work/err")"
  for block in 1 64 333 65536; do
    "$cafx" render "$work/run" "$note" "$work/stream.wav" --hop $hop --stream --block $block --quiet >/dev/null 2>"$work/err" ||
      fail "stream, hop $hop, block $block: $(cat "$work/err")"
    cmp "$work/offline.wav" "$work/stream.wav" || fail "stream, hop $hop, block $block: not the offline render"
  done
done
# The render is not silence, nor the input: a test that compares nothing would pass above.
cmp -s "$note" "$work/offline.wav" && fail "the render is the input"
[ "$(tail -c +45 "$work/offline.wav" | tr -d '\0' | wc -c)" -gt 1000 ] || fail "the render is silence"

"$cafx" render "$work/run" "$note" "$work/stream.wav" --hop 64 --stream --block 64 >"$work/out" 2>&1 || fail "a stream with its report"
grep -q "samples of latency" "$work/out" || fail "it does not say its latency: $(cat "$work/out")"
grep -q "a block of 64 lasts 4.00 ms" "$work/out" || fail "it does not say what a block takes: $(cat "$work/out")"
# An input far louder than any in training is warned of, one as loud is not.
loud="over the loudest that the model was trained on"
sox "$note" "$work/loud.wav" gain 18 2>/dev/null || fail "sox"
"$cafx" render "$work/run" "$work/loud.wav" "$work/loud_out.wav" >"$work/out" 2>&1 && grep -q "$loud" "$work/out" || fail "a loud input: $(cat "$work/out")"
dry=$(find "$root/datasets/notes" -path '*NoFX*' -name 'G61-55400*' | head -1)
"$cafx" render "$work/run" "$dry" "$work/dry_out.wav" >"$work/out" 2>&1 || fail "a dry note of the training's kind: $(cat "$work/out")"
grep -q "$loud" "$work/out" && fail "a dry note as loud as the training's is called loud: $(cat "$work/out")"
# Of a stereo file that channel is played which training would take, whatever is on the other; --quiet hides no warning.
sox "$note" "$work/mono.wav" channels 1 2>/dev/null || fail "sox"
sox "$work/mono.wav" "$work/right.wav" remix 0 1 && sox "$work/mono.wav" "$work/turned.wav" remix 1 1v-1 2>/dev/null || fail "sox"
sox "$note" -b 16 "$work/noise.wav" synth whitenoise gain -20 2>/dev/null && sox -M "$work/mono.wav" "$work/noise.wav" "$work/unlike.wav" 2>/dev/null || fail "sox"
played() { "$cafx" render "$work/run" "$work/$1.wav" "$work/p.wav" --quiet --force "${@:2}" 2>"$work/err" || fail "render $*: $(cat "$work/err")"; sox "$work/p.wav" -t f32 - | sha256sum; }
mono=$(played mono)
[ "$mono" = "$(played right)" ] || fail "the channel that holds the recording is not played"
[ "$mono" = "$(played turned)" ] || fail "channels turned over cancel"
grep -q "left is used" "$work/err" || fail "--quiet hides which channel is played: $(cat "$work/err")"
[ "$mono" = "$(played turned --channel right)" ] && fail "--channel does nothing"
played unlike >/dev/null
grep -q "their mean is played; --channel chooses" "$work/err" || fail "channels with nothing in common are mixed without a word: $(cat "$work/err")"
[ "$mono" = "$(played unlike --channel left)" ] || fail "--channel left plays something else"
# An ending counts in letters of any case; what the model does not hear of a faster file is told.
sox "$work/mono.wav" -b 32 -e float "$work/float48.wav" rate 48000 2>/dev/null || fail "sox"
"$cafx" render "$work/run" "$work/float48.wav" "$work/F.WAV" >"$work/out" 2>&1 && [ "$(soxi -e "$work/F.WAV" 2>/dev/null)" = "Floating Point PCM" ] ||
  fail "a .WAV of a float file: $(soxi -e "$work/F.WAV" 2>&1) $(cat "$work/out")"
grep -q "works at 16000 Hz, the file at 48000: nothing above 8.0 kHz is heard" "$work/out" || fail "the band that is lost: $(cat "$work/out")"
"$cafx" render "$work/run" "$work/mono.wav" "$work/F.WAV" --float >"$work/out" 2>&1 || fail "--float to a .WAV: $(cat "$work/out")"
grep -q "nothing above" "$work/out" && fail "a file of the model's own rate loses nothing: $(cat "$work/out")"
refuses "a channel that is not there" "has 2 channels, and number 3 was asked for" "$cafx" render "$work/run" "$work/right.wav" "$work/x.wav" --channel 3 --quiet
refuses "--block without --stream" "--stream" "$cafx" render "$work/run" "$note" "$work/x.wav" --block 64
refuses "a hop over half a frame" "hop" "$cafx" render "$work/run" "$note" "$work/x.wav" --hop 200 --stream --quiet
refuses "a block of nothing" "--block" "$cafx" render "$work/run" "$note" "$work/x.wav" --stream --block 0
refuses "no input file" "nowhere.wav" "$cafx" render "$work/run" "$work/nowhere.wav" "$work/x.wav" --stream --quiet
[ -e "$work/x.wav" ] && fail "a refused render left a file"
finish
