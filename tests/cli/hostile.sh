#!/usr/bin/env bash
# Files, names, disks and terminals as they should not be: each gets one clear line, nothing is lost, nothing unsaid.
. "$(dirname "$0")/common.sh"
short_notes
"$cafx" train "${short[@]}" --out "$work/run" >"$work/out" 2>&1 || fail "the small training itself: $(cat "$work/out")"
note=$(ls "$work"/dry/*.wav | head -1)
render() { "$cafx" render "$work/run" "$@" --quiet; }
esc=$(printf '\033')
raw_controls() { LC_ALL=C grep -q "$esc\|$(printf '\302\233')" "$1"; }

# Recordings whose header lies are played whole; of damaged ones the good part, under a name that says so.
python3 - "$note" "$work" <<'P'
import struct, sys
b = open(sys.argv[1], "rb").read()
at = b.index(b"data")
open(sys.argv[2] + "/off.wav", "wb").write(b[:at + 4] + bytes(4) + b[at + 8:])
open(sys.argv[2] + "/cut.wav", "wb").write(b[:len(b) * 2 // 3])
bits = struct.unpack("<H", b[b.index(b"fmt ") + 22:][:2])[0]
print(bits)
n = 3000
data = struct.pack("<f", 0.1) * (n // 2) + struct.pack("<f", float("nan")) + struct.pack("<f", 0.1) * (n // 2 - 1)
open(sys.argv[2] + "/nan.wav", "wb").write(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 16000, 64000, 4, 32) + b"data" + struct.pack("<I", len(data)) + data)
data = struct.pack("<f", 0.1) * n
open(sys.argv[2] + "/float.wav", "wb").write(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 16000, 64000, 4, 32) + b"data" + struct.pack("<I", len(data)) + data)
P
"$cafx" render "$work/run" "$work/off.wav" "$work/off_out.wav" >"$work/out" 2>&1 || fail "a recorder that was switched off: $(cat "$work/out")"
grep -q "off.wav: its header states no length" "$work/out" || fail "the note on the header: $(cat "$work/out")"
render "$note" "$work/whole_out.wav" || fail "render"
cmp -s "$work/off_out.wav" "$work/whole_out.wav" || fail "a wrong header changes what is played"
refuses "a cut file" "cut.wav: is cut off.* s of it are good, .* s are lost.*cut_out.partial.wav" render "$work/cut.wav" "$work/cut_out.wav"
[ -s "$work/cut_out.partial.wav" ] && [ ! -e "$work/cut_out.wav" ] || fail "the part of a cut file: $(ls "$work")"
refuses "NaN in the input" "nan.wav: holds a sample that is -\?nan at 0.094 s.*nan_out.partial.wav" render "$work/nan.wav" "$work/nan_out.wav"
[ ! -e "$work/nan_out.wav" ] || fail "NaN left a whole output"

# Same input, same bytes, a second later too; a recording is not overwritten, a rendering is.
render "$work/float.wav" "$work/f1.wav" && sleep 1.1 && render "$work/float.wav" "$work/f2.wav" || fail "render of floats"
cmp -s "$work/f1.wav" "$work/f2.wav" || fail "two renderings of the same differ"
render "$work/float.wav" "$work/f1.wav" || fail "a rendering over a rendering"
cp "$note" "$work/mine.wav"
refuses "an existing recording" "mine.wav: is there already.*--force" render "$work/float.wav" "$work/mine.wav"
cmp -s "$note" "$work/mine.wav" || fail "the recording was touched"
render "$work/float.wav" "$work/mine.wav" --force || fail "--force"

# Names that are no UTF-8, in all that reads or lists them.
latin=$(printf '\304nderung')
mkdir "$work/latin" && cp -r "$work/dry" "$work/wet" "$work/latin"
for side in dry wet; do mv "$(ls "$work/latin/$side"/*.wav | head -1)" "$work/latin/$side/$latin.wav"; done
"$cafx" train "$work/latin/dry" "$work/latin/wet" "${short[@]:2}" --out "$work/latin_run" >"$work/out" 2>&1 || fail "names in Latin-1: $(cat "$work/out")"
"$cafx" data check "$work/latin/dry" "$work/latin/wet" --json >"$work/out" 2>&1 || fail "data check of names in Latin-1: $(cat "$work/out")"
"$cafx" eval "$work/latin_run" --part train --json - >"$work/out" 2>&1 || fail "eval of names in Latin-1: $(cat "$work/out")"
render "$work/latin/dry/$latin.wav" "$work/$latin.wav" || fail "render to a name in Latin-1"

# Links: a file counts once, loops end.
mkdir "$work/linked" && cp -r "$work/dry" "$work/wet" "$work/linked"
pairs() { "$cafx" data check "$work/linked/dry" "$work/linked/wet" 2>&1 | head -1; }
before=$(pairs)
for side in dry wet; do
  ln -s . "$work/linked/$side/again"; ln -s ../$side "$work/linked/$side/up"
  ln "$(ls "$work/linked/$side"/*.wav | head -1)" "$work/linked/$side/hard.wav"
  ln -s loop2 "$work/linked/$side/loop1"; ln -s loop1 "$work/linked/$side/loop2"; ln -s loop1 "$work/linked/$side/l.wav"
done
[ "$(timeout 60 "$cafx" data check "$work/linked/dry" "$work/linked/wet" 2>&1 | head -1)" = "$before" ] || fail "links multiply the data: $(pairs), before: $before"

# Paths that the system does not even look at.
ln -s loop "$work/loop"
long=$(head -c 120000 /dev/zero | tr '\0' x)
for path in "$work/loop" "$work/loop/x" "$long" "$work/$long/x"; do
  refuses "info of a loop or a long name" "" "$cafx" info "$path"
  refuses "render of a loop or a long name" "" render "$path" "$work/o.wav"
  refuses "render to a loop or a long name" "" render "$note" "$path/o.wav"
  refuses "train on a loop or a long name" "" "$cafx" train "$path" "$path" --out "$work/new"
  refuses "a run folder that is a loop or a long name" "" "$cafx" train "${short[@]}" --out "$path"
  refuses "a config that is a loop or a long name" "" "$cafx" info --config "$path"
  refuses "an export to a loop or a long name" "" "$cafx" export "$work/run" -o "$path/m.safetensors"
  refuses "a sweep that is a loop or a long name" "" "$cafx" sweep plan "$path"
  grep -q "internal error" "$work/err" && fail "internal error: $(cat "$work/err")"
done
[ "$(wc -c <"$work/err")" -lt 20000 ] || fail "a message of $(wc -c <"$work/err") bytes"

# A config that is no file.
refuses "a folder as a config" "is a folder" "$cafx" info --config "$work"
refuses "a config of which nothing can be read" "cannot be read" "$cafx" info --config /proc/self/mem
refuses "a device without end as a config" "does not end" timeout 20 "$cafx" info --config /dev/zero
"$cafx" info --config <(echo '[model]'; echo 'filters = 64'; echo 'dnn = [64, 64]') >"$work/out" 2>&1 || fail "a config from a pipe: $(cat "$work/out")"

# What is printed must arrive.
full() {
  local code=0
  "$cafx" "$@" >/dev/full 2>"$work/err" || code=$?
  [ $code = 2 ] && grep -q "standard output cannot be written" "$work/err" || fail "$* to a full disk: exit code $code: $(cat "$work/err")"
}
cat >"$work/s.toml" <<END
name = "s"
[data]
reader = "folders"
dry = "$work/dry"
wet = "$work/wet"
$tiny_model
[train]
epochs = 1
pretrain_epochs = 0
refine_epochs = 0
[axes]
train.lr = [1e-3]
END
full --help
full --version
full train --help
full info "$work/run"
full info --json
full eval "$work/run" --part train
full eval "$work/run" --part train --json -
full eval "$work/run" --part train --csv -
full data check "$work/dry" "$work/wet"
full data check "$work/dry" "$work/wet" --json
full export "$work/run" -o "$work/e.safetensors"
full import "$work/e.safetensors" --config "$work/run/config.toml" -o "$work/i.safetensors"
full resume "$work/run" --quiet
full sweep plan "$work/s.toml" --store "$work/runs" --no-measure
full sweep run "$work/s.toml" --store "$work/runs" --no-measure
full sweep status s --store "$work/runs"
full sweep report s --store "$work/runs"
full doctor

# Nobody reads on: the command ends without a word, and its files are written.
(set -o pipefail; "$cafx" eval "$work/run" --part train --csv "$work/piped.csv" 2>"$work/err" | true)
[ -s "$work/piped.csv" ] || fail "a closed pipe loses the CSV"
"$cafx" --help 2>"$work/err" | head -1 >/dev/null
[ ! -s "$work/err" ] || fail "a closed pipe: $(cat "$work/err")"

# Control characters of names, metadata and values stay off the terminal.
"$cafx" export "$work/run" -o "$work/e.safetensors" --licence "$(printf 'free\033[2J\302\233bold')" >/dev/null || fail "export"
"$cafx" info "$work/e.safetensors" >"$work/out" 2>&1 || fail "info"
raw_controls "$work/out" && fail "info prints control characters"
grep -q 'licence: free\\x1b\[2J' "$work/out" || fail "info shows what is there: $(grep licence "$work/out")"
odd=$(printf 'red\033[31m\nx,"y"')
mkdir "$work/odd" && cp -r "$work/dry" "$work/wet" "$work/odd"
for side in dry wet; do mv "$(ls "$work/odd/$side"/*.wav | head -1)" "$work/odd/$side/$odd.wav"; done
"$cafx" train "$work/odd/dry" "$work/odd/wet" "${short[@]:2}" --out "$work/odd_run" >"$work/out" 2>&1 || fail "names with control characters: $(cat "$work/out")"
raw_controls "$work/out" && fail "the summary of train prints control characters"
"$cafx" eval "$work/odd_run" --part train >"$work/out" 2>&1 || fail "eval of such names: $(cat "$work/out")"
raw_controls "$work/out" && fail "eval prints control characters"
render "$work/odd/dry/$odd.wav" "$work/odd_out.flac" 2>"$work/out" || fail "render of such a name"
raw_controls "$work/out" && fail "render prints control characters"
"$cafx" eval "$work/odd_run" --part train --csv "$work/odd.csv" >/dev/null || fail "eval --csv"
python3 - "$work/odd.csv" <<'P' || fail "eval --csv: names with commas, quotes and line ends: $(cat "$work/odd.csv")"
import csv, sys
rows = list(csv.reader(open(sys.argv[1], newline="")))
assert len(rows) >= 2 and all(len(r) == len(rows[0]) for r in rows), [len(r) for r in rows]
assert any(r[0].startswith("red") and r[0].endswith('[31m\nx,"y"') for r in rows[1:]), rows
P

# Checkpoints: a bit that turned is noticed; the run goes on from the one before, to the same bits.
long_run=("${short[@]}" --set train.epochs=40 --set train.patience=1000 --set train.pretrain_epochs=0 --set train.refine_epochs=0)
"$cafx" train "${long_run[@]}" --out "$work/straight" >/dev/null 2>&1 || fail "the longer training"
[ ! -e "$work/straight/checkpoint.previous.safetensors" ] || fail "a finished run keeps two checkpoints"
CAFX_CHECKPOINT_SECONDS=0 "$cafx" train "${long_run[@]}" --set train.epochs=40 --out "$work/broken" >/dev/null 2>&1 &
pid=$!
for _ in $(seq 3000); do [ -s "$work/broken/checkpoint.previous.safetensors" ] && break; sleep 0.02; done
kill -KILL $pid; wait $pid 2>/dev/null
[ -s "$work/broken/checkpoint.previous.safetensors" ] || fail "no checkpoint but the last is kept: $(ls "$work/broken")"
turn_a_bit() { python3 -c "
import sys
b = bytearray(open(sys.argv[1], 'rb').read()); b[len(b) * 3 // 4] ^= 16; open(sys.argv[1], 'wb').write(b)" "$1"; }
cp -r "$work/broken" "$work/both"
turn_a_bit "$work/broken/checkpoint.safetensors"
"$cafx" resume "$work/broken" >"$work/out" 2>&1 || fail "a resume from the checkpoint before: $(cat "$work/out")"
grep -q "checkpoint.safetensors: is damaged.*goes on from the checkpoint before it" "$work/out" || fail "it is said: $(cat "$work/out")"
for file in best.safetensors metrics.csv; do cmp -s "$work/straight/$file" "$work/broken/$file" || fail "$file differs after that"; done
turn_a_bit "$work/both/checkpoint.safetensors"; turn_a_bit "$work/both/checkpoint.previous.safetensors"
refuses "two damaged checkpoints" "checkpoint.safetensors: is damaged.*remove $work/both" "$cafx" resume "$work/both" --quiet
rm "$work/both/checkpoint.previous.safetensors"
refuses "a damaged checkpoint alone" "is damaged.*remove the folder $work/both and train anew" "$cafx" resume "$work/both" --quiet

# The best weights of a finished run come back from its checkpoint, where they were lost or a bit of them turned.
for how in lost empty turned; do
  rm -rf "$work/healed" && cp -r "$work/run" "$work/healed"
  case $how in
    lost) rm "$work/healed/best.safetensors" ;;
    empty) : >"$work/healed/best.safetensors" ;;
    turned) turn_a_bit "$work/healed/best.safetensors" ;;
  esac
  "$cafx" resume "$work/healed" >"$work/out" 2>&1 || fail "a resume with best weights $how: $(cat "$work/out")"
  grep -q "best.safetensors was missing or damaged" "$work/out" || fail "best weights $how: nothing is said: $(cat "$work/out")"
  cmp -s "$work/run/best.safetensors" "$work/healed/best.safetensors" || fail "best weights $how: they are not as they were"
done

# A closed terminal saves as a TERM does; nohup goes on.
for what in HUP TERM; do
  "$cafx" train "${short[@]}" --set train.epochs=100000 --set train.patience=100000 --out "$work/$what" >/dev/null 2>&1 &
  pid=$!
  for _ in $(seq 3000); do [ -s "$work/$what/checkpoint.safetensors" ] && break; sleep 0.02; done
  sleep 1
  touch "$work/asked"
  kill -$what $pid
  wait $pid
  code=$?
  [ $code = 130 ] || fail "SIG$what ends a training with $code"
  [ "$work/$what/checkpoint.safetensors" -nt "$work/asked" ] || fail "SIG$what: nothing was saved"
done
(trap '' HUP; exec "$cafx" train "${short[@]}" --set train.epochs=30 --set train.patience=1000 --out "$work/nohup" >/dev/null 2>&1) &
pid=$!
for _ in $(seq 3000); do [ -s "$work/nohup/checkpoint.safetensors" ] && break; sleep 0.02; done
kill -HUP $pid
wait $pid || fail "what nohup started is ended by SIGHUP"

# The scheduler of a sweep passes it on: its runs save and end.
sed 's/^epochs = 1$/epochs = 100000\npatience = 100000/; s/^name = "s"/name = "hup"/' "$work/s.toml" >"$work/hup.toml"
"$cafx" sweep run "$work/hup.toml" --store "$work/hup_runs" --no-measure >"$work/out" 2>&1 &
pid=$!
for _ in $(seq 1200); do ls "$work"/hup_runs/default-*/checkpoint.safetensors >/dev/null 2>&1 && break; sleep 0.05; done
sleep 1
touch "$work/asked"
workers=$(pgrep -P $pid)
kill -HUP $pid
wait $pid
code=$?
[ $code = 130 ] || fail "SIGHUP ends a sweep with $code: $(cat "$work/out")"
for worker in $workers; do kill -0 "$worker" 2>/dev/null && fail "a run goes on behind a sweep that SIGHUP ended"; done
[ "$(find "$work"/hup_runs/default-* -name checkpoint.safetensors -newer "$work/asked" | wc -l)" = 1 ] || fail "SIGHUP: the run of a sweep did not save"

# Weights from elsewhere. An export read back is the same model: its own config counts, where no other is given.
odd_model=(--set model.activation=relu --set model.unpool=hold)
"$cafx" train "${short[@]}" "${odd_model[@]}" --out "$work/odd_model" >/dev/null 2>&1 || fail "another model"
"$cafx" export "$work/odd_model" -o "$work/e.safetensors" >/dev/null || fail "export"
"$cafx" import "$work/e.safetensors" -o "$work/i.safetensors" >"$work/out" 2>&1 || fail "import of an export: $(cat "$work/out")"
tensors() { python3 -c "
import json, sys, hashlib
b = open(sys.argv[1], 'rb').read(); n = int.from_bytes(b[:8], 'little'); h = json.loads(b[8:8 + n]); m = h.pop('__metadata__')
print(json.loads(m['config']), hashlib.sha256(b[8 + n:]).hexdigest(), sorted(h.items()))" "$1"; }
[ "$(tensors "$work/e.safetensors")" = "$(tensors "$work/i.safetensors")" ] || fail "an export read back is another model"
"$cafx" render "$work/odd_model" "$note" "$work/r1.wav" --quiet && "$cafx" render "$work/i.safetensors" "$note" "$work/r2.wav" --quiet
cmp -s "$work/r1.wav" "$work/r2.wav" || fail "an export read back sounds otherwise"
python3 - "$work" <<'P'
import json, struct, sys
b = open(sys.argv[1] + "/e.safetensors", "rb").read()
n = int.from_bytes(b[:8], "little"); h = json.loads(b[8:8 + n]); data = b[8 + n:]
about = h.pop("__metadata__")
assert len(about.pop("checksum")) == 32
assert sys.argv[1] not in json.dumps(about), about
def write(name, tensors, metadata):
    head, body = {"__metadata__": metadata} if metadata else {}, b""
    for k, (dtype, shape, raw) in tensors.items():
        head[k] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(head).encode()
    open(f"{sys.argv[1]}/{name}.safetensors", "wb").write(len(text).to_bytes(8, "little") + text + body)
raw = {k: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for k, t in h.items()}
def values(r): return struct.unpack(f"<{len(r) // 4}f", r)
write("f64", {k: ("F64", s, struct.pack(f"<{len(r) // 4}d", *values(r))) for k, (d, s, r) in raw.items()}, about)
write("f16", {k: ("F16", s, struct.pack(f"<{len(r) // 4}e", *values(r))) for k, (d, s, r) in raw.items()}, about)
write("wrapped", {"module.model." + k: v for k, v in raw.items()}, about)
# Some kilobytes that describe gigabytes.
config = json.loads(about["config"]); config.update(frame=1048576, pool=1)
write("huge", raw, {**about, "config": json.dumps(config)})
P
[ $? = 0 ] || fail "exported metadata holds a path of this machine"
for kind in "f64:tensors of F64 were converted" "f16:tensors of F16 were converted" "wrapped:'module.model.'"; do
  file=$work/${kind%%:*}.safetensors
  "$cafx" import "$file" -o "$work/i.safetensors" >"$work/out" 2>&1 || fail "import of $kind: $(cat "$work/out")"
  grep -q "${kind#*:}" "$work/out" || fail "import of $kind says nothing: $(cat "$work/out")"
  [ "${kind%%:*}" = f16 ] || [ "$(tensors "$work/e.safetensors")" = "$(tensors "$work/i.safetensors")" ] || fail "$kind is another model"
done
(
  ulimit -v 4000000
  words="huge.safetensors: its config describes a model of [0-9]* parameters and more"
  refuses "a config of gigabytes" "$words" "$cafx" info "$work/huge.safetensors"
  refuses "a config of gigabytes" "$words" "$cafx" render "$work/huge.safetensors" "$note" "$work/o.wav" --quiet
  refuses "a config of gigabytes" "$words" "$cafx" import "$work/huge.safetensors" -o "$work/i.safetensors"
  [ $failures = 0 ]
) || failures=$((failures + 1))
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 600000\n' >"$work/lfs.safetensors"
printf '<!DOCTYPE html><html><head>' >"$work/page.safetensors"
printf '\200\004\225aaaaaaaaaaaaaaaaaaaaaaaaa' >"$work/pickle.safetensors"
printf '{"version": "0.5.4", "architecture": "LSTM", "weights": []}' >"$work/model.nam"
for kind in "lfs.safetensors:Git LFS" "page.safetensors:web page" "pickle.safetensors:pickle" "model.nam:.nam file"; do
  refuses "import of ${kind%%:*}" "${kind#*:}" "$cafx" import "$work/${kind%%:*}" -o "$work/i.safetensors"
done

# The best weights of another model in the folder of a run.
cp -r "$work/run" "$work/swapped"
cp "$work/straight/best.safetensors" "$work/swapped/best.safetensors"
refuses "render with the weights of another run" "best.safetensors: is of another run" "$cafx" render "$work/swapped" "$note" "$work/o.wav" --quiet
refuses "eval with the weights of another run" "best.safetensors: is of another run" "$cafx" eval "$work/swapped"
refuses "report with the weights of another run" "best.safetensors: is of another run" "$cafx" report "$work/swapped"
finish
