#!/usr/bin/env bash
# Bad input of every kind gets one clear line and exit code 2, and nothing already finished is lost.
. "$(dirname "$0")/common.sh"
note="$(ls "$root"/datasets/notes/Gitarre\ monophon/Samples/NoFX/G61-55400*.flac)"

"$cafx" train "${small[@]}" --out "$work/run" >/dev/null || fail "the small training itself"
cp -r "$work/run" "$work/before"

# Audio files.
: >"$work/empty.wav"
echo "this is not audio" >"$work/text.wav"
python3 - "$work" <<'P'
import struct, sys
def wav(name, rate, channels, samples, fmt=1, bits=16, promise=None):
    n = promise if promise is not None else len(samples)
    head = b'RIFF' + struct.pack('<I', 36 + n) + b'WAVEfmt ' + struct.pack('<IHHIIHH', 16, fmt, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    open(sys.argv[1] + '/' + name, 'wb').write(head + b'data' + struct.pack('<I', n) + samples)
wav('cut.wav', 16000, 1, b'\1\2' * 1000, promise=64000)
wav('zero_hz.wav', 0, 1, b'\1\2' * 1000)
wav('two.wav', 16000, 1, b'\1\2' * 2)
wav('many.wav', 16000, 32, b'\1\2' * 32 * 2000)
wav('nan.wav', 16000, 1, struct.pack('<f', 0.1) * 500 + struct.pack('<f', float('nan')) + struct.pack('<f', 0.1) * 500, fmt=3, bits=32)
wav('huge.wav', 16000, 1, struct.pack('<ff', 1e30, -1e30) * 4000, fmt=3, bits=32)
P
refuses "an output that is not finite" "output is not finite .* turn the input down" "$cafx" render "$work/run" "$work/huge.wav" "$work/o.wav" --quiet
for case in "empty.wav:empty" "text.wav:not audio" "cut.wav:cut off" "zero_hz.wav:Hz" "nan.wav:nan" "missing.wav:no such file"; do
  file=${case%%:*} words=${case#*:}
  refuses "render $file" "$words" "$cafx" render "$work/run" "$work/$file" "$work/o.wav" --quiet
  refuses "train on $file" "$words" "$cafx" train --set data.reader=files --set data.dry="$work/$file" --set data.wet="$note" --out "$work/new"
  [ -e "$work/o.wav" ] && fail "render $file left an output"
done
refuses "a misspelled command of a command" "no command 'cafx sweep statsu'; did you mean 'status'?" "$cafx" sweep statsu
refuses "a setting as an option" "train.epochs is a setting: --set train.epochs=VALUE" "$cafx" train dry.wav wet.wav --epochs 3
cp "$note" "$work/keep.flac"
refuses "a table over a recording" "is a recording" "$cafx" eval "$work/run" --csv "$work/keep.flac"
refuses "a model over a recording" "is a recording" "$cafx" export "$work/run" --format safetensors -o "$work/keep.flac"
refuses "an import over a recording" "no format has the ending" "$cafx" import "$work/run/best.safetensors" -o "$work/keep.flac"
cmp -s "$note" "$work/keep.flac" || fail "a recording is gone"
refuses "an import as .nam" "import writes safetensors" "$cafx" import "$work/run/best.safetensors" -o "$work/m.nam"
for file in checkpoint.safetensors best.safetensors config.toml result.json; do
  refuses "a table over $file" "is a file that a run needs" "$cafx" eval "$work/run" --csv "$work/run/$file"
  refuses "a page over $file" "is a file that a run needs" "$cafx" report "$work/run" -o "$work/run/$file"
done
for _ in 1 2; do
  "$cafx" eval "$work/run" --json "$work/result.json" >/dev/null 2>&1 || fail "a table of one's own under the name of a run's file"
done
refuses "a model over a checkpoint" "is a file that a run needs" "$cafx" export "$work/run" -o "$work/run/checkpoint.safetensors"
echo mine >"$work/mine"
for name in m.onnx m.safetensors page.html; do
  cp "$work/mine" "$work/$name"
  command=export
  [ $name != page.html ] || command=report
  refuses "$command over a file of another program" "exists and is no file that cafx wrote" "$cafx" $command "$work/run" -o "$work/$name"
  cmp -s "$work/mine" "$work/$name" || fail "$name is gone"
  rm "$work/$name"
  for _ in 1 2; do "$cafx" $command "$work/run" -o "$work/$name" >/dev/null 2>"$work/err" || fail "$name over its own: $(cat "$work/err")"; done
done
refuses "two tables in one file" "both go to" "$cafx" eval "$work/run" --csv "$work/t" --json "$work/t"
trained=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["train"][0]["note"])' "$work/run/split.json")
"$cafx" eval "$work/run" --set "data.test_notes=$trained" >"$work/out" 2>"$work/err" || fail "eval of a note of the training: $(cat "$work/err")"
grep -q "among those that .* was trained on" "$work/err" || fail "a note of the training judges without a word: $(cat "$work/err")"
"$cafx" eval "$work/run" >"$work/out" 2>"$work/err" || fail "eval: $(cat "$work/err")"
[ -s "$work/err" ] && fail "eval on its own test part warns: $(cat "$work/err")"
# The parts are the run's, whatever has become of the recordings.
validation() { "$cafx" eval "$1" --part validation --json - 2>"$work/err" | python3 -c 'import json, sys; r = json.load(sys.stdin); print(*[n["note"] for n in r["notes"]], *r.get("warnings", []), sep="\n")'; }
before=$(validation "$work/run")
cp -r "$root/datasets/notes" "$work/fewer_notes"
cp -r "$work/run" "$work/fewer"
sed -i "s|^path = .*|path = \"$work/fewer_notes\"|" "$work/fewer/config.toml"
find "$work/fewer_notes" -name "$trained-*" -delete
after=$(validation "$work/fewer")
[ -n "$before" ] && [ "$(head -n "$(wc -l <<<"$before")" <<<"$after")" = "$before" ] || fail "other notes validate after one of training is gone: $before / $after"
grep -q "1 of the .* notes in .*split.json is gone" <<<"$after" || fail "a note that is gone is not told: $after"
rm "$work/fewer/split.json"
"$cafx" eval "$work/fewer" >"$work/out" 2>"$work/err" || fail "eval without split.json: $(cat "$work/err")"
grep -q "is missing, so the parts are drawn anew" "$work/err" || fail "parts are drawn anew without a word: $(cat "$work/err")"
cp -r "$work/run" "$work/other"
sed -i "s/^silence_db = .*/silence_db = -50.0/" "$work/other/config.toml"
refuses "a config that has changed" "config.toml has changed since" "$cafx" resume "$work/other" --quiet
sed -i "s/^dry_gain_db = .*/dry_gain_db = 1.0/" "$work/other/config.toml"
refuses "recordings that have changed" "the audio of .*datasets/notes" "$cafx" resume "$work/other" --quiet
refuses "eval of nothing" "no-such-run: no such file or folder" "$cafx" eval "$work/no-such-run"
refuses "a file beside a folder" "two folders" "$cafx" train "$note" "$root/datasets" --out "$work/new"
refuses "dry without wet" "data.wet" "$cafx" train "$note" --out "$work/new"
refuses "train on 2 samples" "too few" "$cafx" train --set data.reader=files --set data.dry="$work/two.wav" --set data.wet="$work/two.wav" --out "$work/new"
"$cafx" render "$work/run" "$work/many.wav" "$work/many_out.wav" --quiet 2>/dev/null || fail "32 channels are rendered as their mean"
"$cafx" render "$work/run" "$work/two.wav" "$work/two_out.wav" --quiet 2>/dev/null || fail "2 samples are rendered"
refuses "an output of no format" "wav or .flac" "$cafx" render "$work/run" "$note" "$work/o.mp3" --quiet
refuses "a hop over half a frame" "half\|1 to 128" "$cafx" render "$work/run" "$note" "$work/o.wav" --hop 200 --quiet

# Configs.
cfg() { printf '%s\n' "$2" >"$work/$1.toml"; }
cfg unknown $'[model]\nfiltres = 4'
cfg type $'[model]\nfilters = "many"'
cfg negative $'[model]\nfilters = -4'
cfg broken $'[model\nfilters = 4'
cfg pool $'[model]\nframe = 1000'
cfg dnn $'[model]\ndnn = [8, 9]'
cfg hop $'[model]\nhop = 1024'
refuses "an unknown key" "model.filters" "$cafx" info --config "$work/unknown.toml"
refuses "a wrong type" "whole number" "$cafx" info --config "$work/type.toml"
refuses "a negative size" "-4" "$cafx" info --config "$work/negative.toml"
refuses "broken TOML" "broken.toml:" "$cafx" info --config "$work/broken.toml"
refuses "a frame not divisible by pool" "divisible" "$cafx" info --config "$work/pool.toml"
refuses "a last layer that does not fit" "filters" "$cafx" info --config "$work/dnn.toml"
refuses "a hop over half a frame in a config" "half a frame" "$cafx" info --config "$work/hop.toml"
refuses "a missing config" "cannot be read" "$cafx" info --config "$work/none.toml"
refuses "a setting without a value" "KEY=VALUE" "$cafx" info --set model.filters
refuses "an unknown preset" "journal" "$cafx" info --preset grand
refuses "an unknown command" "no command 'cafx dance'; 'cafx --help' lists them all" "$cafx" dance
refuses "a name where there is no place for one" "named.onnx: --name is for nam and lv2, which hosts list by it; onnx has none" \
  "$cafx" export "$work/run" -o "$work/named.onnx" --name amp
refuses "audio into a folder that is not there" "o.wav: cannot be written: there is no folder $work/nowhere; make it first" \
  "$cafx" render "$work/run" "$note" "$work/nowhere/o.wav" --quiet
sox -n -r 700000 -c 1 -b 24 "$work/fast.wav" synth 0.01 sine 440 2>/dev/null || fail "sox"
refuses "a rate that a FLAC cannot have" "a FLAC has at most 655350 Hz, and this has 700000; name it .wav" \
  "$cafx" render "$work/run" "$work/fast.wav" "$work/fast.flac" --quiet
refuses "a model for standard output" "name a file" "$cafx" export "$work/none" -o - --format onnx
refuses "seconds that are no number" "nan is no number" "$cafx" bench --seconds nan
refuses "a finding that there is none of" "did you mean 'silence'" "$cafx" data check "$root/datasets/notes" --set data.allow=silense
refuses "a misspelt command" "did you mean 'train'" "$cafx" trian --set data.path=x
code=0
"$cafx" >"$work/out" 2>"$work/err" || code=$?
[ $code = 2 ] && grep -q "Example:" "$work/err" || fail "cafx alone: exit code $code, no help"
refuses "an unknown option" "" "$cafx" info --frobnicate
refuses "an unknown effect" "Distortion" "$cafx" train --set data.path="$root/datasets/notes" --set data.effect=Wobble --out "$work/new"
refuses "an effect that is not there" "there are" "$cafx" train --set data.path="$root/datasets/notes" --set data.effect=Chorus --out "$work/new"
refuses "a note that is not there" "test_notes" "$cafx" train --set data.path="$root/datasets/notes" --set data.test_notes=G99 --out "$work/new"
refuses "a chain that SoX does not know" "SoX has no effect" "$cafx" train --set data.path="$root/datasets/notes" --set "data.chain=wobble 3" --out "$work/new"
refuses "a folder without notes" "holds no file" "$cafx" data check "$root/scripts"
refuses "a device that is none" "--device tpu: expected cpu, cuda, cuda:N or auto" "$cafx" train "${small[@]}" --device tpu --out "$work/new"
refuses "a device that is none, of several seeds" "--device tpu" "$cafx" train "${small[@]}" --device tpu --seeds 2 --out "$work/new"
refuses "a threshold over all notes" "louder than train.silence_db" "$cafx" train "${small[@]}" --set train.silence_db=0 --out "$work/new"
[ -e "$work/new" ] && fail "a training that was refused left a folder"
mkdir "$work/new" && echo mine >"$work/new/notes.txt"
refuses "a threshold, in a folder that is there" "silence_db" "$cafx" train "${small[@]}" --set train.silence_db=0 --out "$work/new"
[ "$(ls "$work/new")" = notes.txt ] || fail "a training that was refused left files: $(ls "$work/new")"
refuses "an ending of no format" "m.xyz: no format has the ending .xyz; there are .safetensors, .onnx, .nam, .lv2" \
  "$cafx" export "$work/run" -o "$work/m.xyz"
"$cafx" export "$work/run" -o "$work/m" >/dev/null 2>"$work/err" && "$cafx" export "$work/run" --format safetensors -o "$work/m.2" >/dev/null 2>"$work/err" &&
  cmp "$work/m" "$work/m.2" || fail "a file without an ending, or with --format: $(cat "$work/err")"
[ -e "$work/m.xyz" ] && fail "a refused export left a file"

# What the doctor would stop, and data.allow lets pass: the same note under two names, one of them kept for the test.
mkdir -p "$work/dry" "$work/wet"
wet_note="$(ls "$root"/datasets/notes/Gitarre\ monophon/Samples/Distortion/G61-55400*.flac)"
for name in a b; do cp "$note" "$work/dry/$name.flac"; cp "$wet_note" "$work/wet/$name.flac"; done
checks() {  # CODE WORDS SETTINGS...
  local code=$1 words=$2 got=0
  shift 2
  "$cafx" data check --set data.reader=folders --set data.dry="$work/dry" --set data.wet="$work/wet" --set data.test_notes=b "$@" >"$work/out" 2>&1 || got=$?
  [ $got = "$code" ] && grep -q -- "$words" "$work/out" || fail "data check $*: exit code $got, expected $code with '$words': $(cat "$work/out")"
}
checks 2 "training would refuse this$"
checks 2 "training would refuse this$" --set data.allow=silence
checks 0 "training would accept this; data.allow lets pass: leak" --set data.allow=leak
checks 0 '"code": "leak"' --set data.allow=leak --json

# Models and runs.
head -c 5000 "$work/run/best.safetensors" >"$work/half.safetensors"
refuses "a model cut in half" "cut off" "$cafx" render "$work/half.safetensors" "$note" "$work/o.wav" --quiet
# What is no model is called by its name.
printf '\x08\x07\x12\x04cafx' >"$work/m.onnx"
refuses "ONNX as a model" "m.onnx: is an ONNX file, which cafx writes and does not read; give the run" "$cafx" info "$work/m.onnx"
refuses "audio as a model" "two.wav: is audio, where a model is expected" "$cafx" render "$work/two.wav" "$work/run" "$work/o.wav" --quiet
refuses "a config as a model" "config.toml: is text, where a model is expected: the folder of a run" "$cafx" info "$work/run/config.toml"
mkdir "$work/amp.lv2" && echo urn:cafx:model:0 >"$work/amp.lv2/plugin.uri" && cp "$work/run/best.safetensors" "$work/amp.lv2/model.safetensors"
refuses "a plugin as a model" "amp.lv2: is an LV2 plugin that 'cafx export' wrote; its model is .*amp.lv2/model.safetensors" "$cafx" info "$work/amp.lv2"
refuses "no model" "no such file" "$cafx" render "$work/nothing" "$note" "$work/o.wav" --quiet
refuses "a checkpoint as a model" "not a model" "$cafx" info "$work/run/checkpoint.safetensors"
cp -r "$work/run" "$work/half_run"
size=$(stat -c %s "$work/run/checkpoint.safetensors")
head -c $((size / 2)) "$work/run/checkpoint.safetensors" >"$work/half_run/checkpoint.safetensors"
refuses "a checkpoint cut in half" "checkpoint.safetensors.*cut off" "$cafx" resume "$work/half_run" --quiet
cp -r "$work/run" "$work/other_run"
sed -i 's/^filters = 8 /filters = 16 /; s/^dnn = .*/dnn = [8, 8, 16]/' "$work/other_run/config.toml"
refuses "a checkpoint of another model" "has changed" "$cafx" resume "$work/other_run" --quiet
refuses "a folder that holds a run" "holds a run already" "$cafx" train "${small[@]}" --out "$work/run"
cp -r "$work/before" "$work/precise"
refuses "a resume in another precision" "began with train.precision = fp32" "$cafx" resume "$work/precise" --precision bf16 --quiet
sed -i 's/^precision = .*/precision = "tf32"/' "$work/precise/config.toml"
refuses "a run whose precision was changed" "began with train.precision = fp32" "$cafx" resume "$work/precise" --quiet
refuses "a precision that is none" "train.precision.*fp32, tf32, bf16, fp16" "$cafx" train "${small[@]}" --precision fp8 --out "$work/new"
for type in lstm-nano wavenet-nano s4-s; do
  refuses "$type in 16 bits" "train.precision = bf16: models of type .* compute in fp32 alone.*of type cafx, crafx, eq_net" \
    "$cafx" train "${small[@]:0:6}" --preset $type --precision bf16 --quiet --out "$work/new"
done
refuses "fp16 beyond its range" "first the gradient of .*in fp16 a number over 65504 is infinite: set train.precision = .bf16." "$cafx" train "${small[@]}" \
  --precision fp16 --set train.loss.mae=1e6 --out "$work/over"
refuses "a run that is not there" "not a folder" "$cafx" resume "$work/nowhere" --quiet

# A run folder that is in use.
"$cafx" train "${small[@]}" --set train.epochs=100000 --set train.patience=100000 --out "$work/busy" >/dev/null 2>&1 &
busy=$!
for _ in $(seq 200); do [ -s "$work/busy/checkpoint.safetensors" ] && break; sleep 0.05; done
refuses "a run folder in use" "in use by process $busy" "$cafx" resume "$work/busy" --quiet
kill -INT $busy
wait $busy
[ $? = 130 ] || fail "an interrupted training ends with 130"

# What has nothing to save ends at once.
"$cafx" bench --seconds 3000 >/dev/null 2>&1 &
busy=$!
(sleep 20; kill -9 $busy 2>/dev/null) &  # a second old when it is killed: a shell just forked would still run this one's trap
guard=$!
sleep 1
kill -TERM $busy
wait $busy
[ $? = 143 ] || fail "cafx bench does not end when it is asked to"
kill $guard 2>/dev/null

# A full disk, as a limit on the size of files: what was there stays.
(
  ulimit -f 40
  refuses "a full disk" "cannot be written" "$cafx" train "${small[@]}" --set model.filters=64 --set model.dnn=[64,64] --out "$work/full"
  [ $failures = 0 ]
) || fail "a full disk"
if mount -t tmpfs -o ro tmpfs /mnt 2>/dev/null; then
  refuses "a read-only folder" "read-only\|Read-only" "$cafx" train "${small[@]}" --out /mnt/run
  refuses "an export to a read-only folder" "cannot be written" "$cafx" export "$work/run" -o /mnt/m.safetensors
  umount /mnt
else
  echo "skipped: a read-only folder (cannot mount one here)"
fi

for file in best.safetensors checkpoint.safetensors metrics.csv result.json config.toml; do
  cmp -s "$work/run/$file" "$work/before/$file" || fail "$file of the finished run has changed"
done
mkdir "$work/x.sweep" && touch "$work/x.sweep/sweep.toml"
refuses "the page of a sweep" "cafx sweep report" "$cafx" report "$work/x.sweep"
finish
