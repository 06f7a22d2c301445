#!/usr/bin/env bash
# How cost grows with the work: frames per second over batch, threads and notes; start-up; loading; memory of a long render.
#   experiments/bench/scale.sh [--cafx FILE] [--seconds 4] [--notes "40 624 6240"] [--with CMD]
#
# The notes are the twelve shipped guitar notes and their distortion, copied under as many names as wanted (two seconds
# each); copies of one note on both sides of the split would be refused, hence data.allow=leak.
# --with: put CMD in front of every measured command (a lock, taskset, nice).
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")/../.."
cafx=$PWD/build/cpu/host/cafx seconds=4 sizes="40 624 6240" with=()
while [ $# -gt 0 ]; do
  case $1 in
    --cafx) cafx=$(realpath "$2"); shift ;;
    --seconds) seconds=$2; shift ;;
    --notes) sizes=$2; shift ;;
    --with) read -ra with <<<"$2"; shift ;;
    --help | -h) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$self"; exit 0 ;;
    *) echo "scale.sh: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
  shift
done
[ -x "$cafx" ] || { echo "scale.sh: $cafx is not there; build it, or name it with --cafx" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
all=$(nproc)

# measure NAME COMMAND...: its output in $work/NAME, its seconds and peak memory in $took and $peak_mb.
cat >"$work/measure.py" <<'P'
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], "w"), stderr=subprocess.STDOUT).returncode
took = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{took:.2f} {usage.ru_maxrss / 1024:.0f} {usage.ru_utime + usage.ru_stime:.2f}")
sys.exit(code)
P
measure() {
  local name=$1 result
  shift
  result=$("${with[@]}" python3 "$work/measure.py" "$work/$name" "$@") || { cat "$work/$name" >&2; exit 1; }
  read -r took peak_mb cpu <<<"$result"
}
speed() { python3 -c 'import json, sys; print("%.1f" % json.load(open(sys.argv[1]))["frames_per_second"])' "$1"; }

echo "supervised training, preset paper with hold; memory is the process's peak"
echo "| batch | threads | frames/s | MB |"
echo "| --- | --- | --- | --- |"
for batch in 8 16 32 64 128 256 512; do
  measure bench "$cafx" bench --profile --json --preset paper --set model.unpool=hold --set train.batch=$batch --threads "$all" --seconds $((2 * seconds))
  echo "| $batch | $all | $(speed "$work/bench") | $peak_mb |"
done
for threads in $(seq "$all"); do
  measure bench "$cafx" bench --profile --json --preset paper --set model.unpool=hold --set train.batch=32 --threads "$threads" --seconds $((2 * seconds))
  echo "| 32 | $threads | $(speed "$work/bench") | $peak_mb |"
done

shipped="datasets/notes/Gitarre monophon/Samples"
dry=("$shipped"/NoFX/*) wet=("$shipped"/Distortion/*)
copy_notes() {  # COUNT FOLDER
  mkdir -p "$2/dry" "$2/wet"
  python3 - "$1" "$2" "${#dry[@]}" "${dry[@]}" "${wet[@]}" <<'P'
import os, shutil, sys
count, folder, n, files = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
for i in range(count):
    for side, name in (("dry", files[i % n]), ("wet", files[n + i % n])):
        shutil.copyfile(name, f"{folder}/{side}/n{i:05d}.flac")
P
}
data() { echo --set data.reader=folders --set "data.dry=$1/dry" --set "data.wet=$1/wet" --set data.allow=leak --set data.test=0 --set train.hop=1024 --set train.validation_hop=1024; }
once=(--set train.pretrain_epochs=0 --set train.epochs=1 --set train.refine_epochs=0)

echo
echo "preset default; a run of one epoch; load: the time of 'cafx data check'; frames/s: of what the run takes beyond it"
echo "| notes | hours of audio | load s | notes/s | training frames | s | frames/s | MB |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
for n in $sizes; do
  copy_notes "$n" "$work/notes$n"
  # shellcheck disable=SC2046
  measure check "$cafx" data check $(data "$work/notes$n")
  load=$took
  # shellcheck disable=SC2046
  measure train "$cafx" train $(data "$work/notes$n") "${once[@]}" --out "$work/run$n"
  frames=$(grep -om1 '[0-9]* frames,' "$work/run$n/log.txt" | cut -d' ' -f1)
  rate=$(python3 -c "print('%.0f' % ($frames / ($took - $load)))")
  echo "| $n | $(python3 -c "print('%.2f' % ($n * 2 * 2 / 3600))") | $load | $(python3 -c "print('%.0f' % ($n / $load))") | $frames | $took | $rate | $peak_mb |"
done

echo
measure start "$cafx" train --set data.path=datasets/notes --set data.setting=2 --set data.allow=leak --set data.test=0 --set train.hop=1024 --set train.batch=512 "${once[@]}" --out "$work/run-start"
echo "start-up: load the shipped guitar notes, check them, take the first step, validate, write the run: $took s"

echo
echo "rendering with the preset default, hop 512"
echo "| minutes | s | times real time | MB |"
echo "| --- | --- | --- | --- |"
for minutes in 1 10 60; do
  python3 - "$work/in.wav" "$minutes" <<'P'
import random, struct, sys, wave
random.seed(1)
block = struct.pack("<16000h", *(int(random.gauss(0, 1500)) for _ in range(16000)))
with wave.open(sys.argv[1], "wb") as w:
    w.setnchannels(1), w.setsampwidth(2), w.setframerate(16000)
    for _ in range(60 * int(sys.argv[2])):
        w.writeframesraw(block)
P
  measure render "$cafx" render "$work/run-start" "$work/in.wav" "$work/out.wav" --hop 512 --quiet
  echo "| $minutes | $took | $(python3 -c "print('%.0f' % ($minutes * 60 / $took))") | $peak_mb |"
done
