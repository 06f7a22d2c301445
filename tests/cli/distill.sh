#!/usr/bin/env bash
# A student from a teacher and from recordings, over the whole path: distil, resume after kill -9 to the same bits, any
# number of threads, eval, render, export; and what is refused. About 5 s.
. "$(dirname "$0")/common.sh"
note=$(find "$root/datasets/notes" -name 'G61-55400-1111*' | sort | head -1)
notes=(--set data.setting=2 --set data.test_notes=G61-55400,G71-55400)
tiny=(--preset lstm-nano --set model.hidden=6 --set train.epochs=3 --set train.segment_seconds=0.2 --quiet)

"$cafx" train "${small[@]}" --set train.epochs=2 --set train.pretrain_epochs=0 --set train.refine_epochs=0 --out "$work/teacher" >/dev/null ||
  fail "the teacher's training"

# From the teacher: same bits for any number of threads.
for threads in 1 2; do
  "$cafx" distill "$work/teacher" "${tiny[@]}" --threads $threads --out "$work/student$threads" >"$work/out" || fail "distil with $threads threads"
done
grep -q "student against teacher" "$work/out" || fail "the loss of quality is not printed: $(cat "$work/out")"
grep -q 'type = "lstm"' "$work/student1/config.toml" || fail "the config does not say the type"
[ -s "$work/student1/events.out.tfevents" ] || fail "no events for TensorBoard"
grep -q "teacher against recording" "$work/out" || fail "the teacher's own error is not printed"
for file in best.safetensors metrics.csv; do
  cmp "$work/student1/$file" "$work/student2/$file" || fail "$file depends on the number of threads"
done

# Killed at any moment, it ends in the same bits.
kills=0
CAFX_CHECKPOINT_SECONDS=0 "$cafx" distill "$work/teacher" "${tiny[@]}" --out "$work/killed" >/dev/null 2>&1 &
pid=$!
while [ ! -f "$work/killed/checkpoint.safetensors" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -9 $pid 2>/dev/null && kills=1
wait $pid 2>/dev/null
for wait in 0.3 0.4; do
  CAFX_CHECKPOINT_SECONDS=0 timeout -s KILL $wait "$cafx" resume "$work/killed" --quiet >/dev/null 2>&1 || kills=$((kills + 1))
done
"$cafx" resume "$work/killed" --quiet >/dev/null || fail "resume"
[ $kills -gt 0 ] || fail "nothing was killed"
for file in best.safetensors metrics.csv; do cmp "$work/student1/$file" "$work/killed/$file" || fail "$file after kill -9"; done
"$cafx" resume "$work/killed" --quiet | grep -q "student against teacher" || fail "a finished run is reported"

# A WaveNet: the same, and gates.
for threads in 1 2; do
  "$cafx" distill "$work/teacher" --preset wavenet-nano --set model.gated=true --set train.epochs=1 \
    --set train.segment_seconds=0.2 --quiet --threads $threads --out "$work/wavenet$threads" >/dev/null || fail "a WaveNet with $threads threads"
done
cmp "$work/wavenet1/best.safetensors" "$work/wavenet2/best.safetensors" || fail "a WaveNet depends on the number of threads"
"$cafx" render "$work/wavenet1" "$note" "$work/a.wav" --quiet || fail "render a WaveNet"
"$cafx" export "$work/wavenet1" -o "$work/wavenet.nam" >/dev/null 2>&1 || fail "export a WaveNet"
python3 -c 'import json, sys; m = json.load(open(sys.argv[1])); assert m["architecture"] == "WaveNet" and m["config"]["layers"][1]["gated"]' \
  "$work/wavenet.nam" || fail "the WaveNet's .nam file"

# Former names of settings; the long form of the same run: its weights to the bit.
"$cafx" distill "$work/teacher" --preset lstm-nano --set student.lstm.hidden=6 --set train.epochs=3 --set train.segment_seconds=0.2 \
  --set train.esr=1 --quiet --out "$work/former" >/dev/null || fail "former names of settings"
cmp "$work/student1/best.safetensors" "$work/former/best.safetensors" || fail "former names make another run"
"$cafx" train "${small[@]:0:6}" "${tiny[@]}" --set teacher.model="$work/teacher" --set model.sample_rate=16000 --out "$work/long" >/dev/null ||
  fail "a student by 'cafx train'"
cmp "$work/student1/best.safetensors" "$work/long/best.safetensors" || fail "'cafx train' with a teacher is another run"
# A student may teach, and be stopped by another metric.
"$cafx" distill "$work/student1" "${tiny[@]}" --set train.stop_on=mr_stft --out "$work/pupil" >/dev/null || fail "a student as a teacher"
head -1 "$work/pupil/metrics.csv" | grep -q validation_mr_stft || fail "train.stop_on is not in metrics.csv"

# From recordings: two files and a folder, another rate, the other command line.
wet=$(find "$root/datasets/notes" -name 'G61-55400-4412*' | sort | head -1)
"$cafx" distill --data "$note" "$wet" "${tiny[@]}" --set data.segment_seconds=0.4 --json --out "$work/files" >"$work/out" || fail "distil two files"
grep -q '"sample_rate":16000' "$work/out" || fail "the rate is not that of the recordings: $(cat "$work/out")"
"$cafx" distill --data "$root/datasets/notes" "${notes[@]}" "${tiny[@]}" --rate 48000 --set train.epochs=1 --out "$work/fast" >/dev/null ||
  fail "distil at 48 kHz"
"$cafx" distill "$work/teacher" "${tiny[@]}" --rate 24000 --set train.epochs=1 --out "$work/other" >/dev/null || fail "a teacher at another rate"

# Eval, render, export.
"$cafx" eval "$work/student1" --json - >"$work/out" || fail "eval"
grep -q '"esr"' "$work/out" || fail "eval says no ESR"
"$cafx" render "$work/student1" "$note" "$work/a.wav" --quiet || fail "render"
"$cafx" export "$work/student1" -o "$work/student.safetensors" >"$work/out" || fail "export to safetensors"
"$cafx" render "$work/student.safetensors" "$note" "$work/b.wav" --quiet || fail "render from the file"
cmp "$work/a.wav" "$work/b.wav" || fail "the file does not play as the run"
"$cafx" eval "$work/student.safetensors" --data "$work/teacher" >/dev/null || fail "eval of a file, with a teacher's data"
"$cafx" export "$work/student1" -o "$work/x.nam" >"$work/out" 2>"$work/err" || fail "export to .nam"
grep -q "student against recording" "$work/out" || fail "export does not print the loss of quality"
grep -q "rate 48000" "$work/err" || fail "no warning of 16 kHz: $(cat "$work/err")"
python3 - "$work/x.nam" <<'P' || fail "the .nam file"
import json, sys
m = json.load(open(sys.argv[1]))
assert m["version"] == "0.5.4" and m["architecture"] == "LSTM" and m["sample_rate"] == 16000, m["version"]
assert len(m["weights"]) == 4 * 6 * 7 + 24 + 12 + 7, len(m["weights"])
assert m["metadata"]["name"] == "student1"
q = m["metadata"]["cafx"]["quality"]
assert set(q) == {"part", "notes", "student_target", "teacher_target", "student_teacher"}, q
assert m["metadata"]["training"]["validation_esr"] == q["student_target"]["esr"]
P
"$cafx" export "$work/fast" -o "$work/fast.nam" >/dev/null 2>"$work/err" || fail "export at 48 kHz"
[ -s "$work/err" ] && fail "a warning at 48 kHz: $(cat "$work/err")"

# The page of a run, and its layers.
"$cafx" report "$work/student1" >/dev/null || fail "the page of a student"
grep -q "sample by sample" "$work/student1/report.html" || fail "the page does not say how it plays"
"$cafx" info "$work/student1" >"$work/out" || fail "info"
grep -q "head" "$work/out" && grep -q "^validation_esr: " "$work/out" || fail "info lists no layers, or no error: $(cat "$work/out")"
"$cafx" import "$work/student.safetensors" --preset lstm-nano --set model.hidden=6 --set model.sample_rate=16000 -o "$work/imported.safetensors" >/dev/null ||
  fail "import"
"$cafx" render "$work/imported.safetensors" "$note" "$work/c.wav" --quiet && cmp "$work/a.wav" "$work/c.wav" || fail "the imported model plays as the run"

# Refused, each in one line.
refuses "CAFx as .nam" "cafx distill" "$cafx" export "$work/teacher" -o "$work/no.nam"
refuses "a student's hop" "sample by sample" "$cafx" render "$work/student1" "$note" "$work/no.wav" --hop 64
refuses "nothing to learn from" "nothing to learn from" "$cafx" distill --out "$work/no"
refuses "an unknown student" "lstm-nano" "$cafx" distill "$work/teacher" --preset lstm-nan --out "$work/no"
refuses "an unknown setting" "model.hidden" "$cafx" distill "$work/teacher" --set model.hiden=3 --out "$work/no"
refuses "layers that do not fit" "dilations" "$cafx" distill "$work/teacher" --preset wavenet --set model.layers=[3,3] --out "$work/no"
refuses "no loss" "all 0" "$cafx" distill "$work/teacher" --set train.loss.esr=0 --out "$work/no"
refuses "a stage that it does not have" "no form to pretrain" "$cafx" distill "$work/teacher" --set train.pretrain_epochs=3 --out "$work/no"
refuses "a folder in use" "holds a run already" "$cafx" distill "$work/teacher" "${tiny[@]}" --out "$work/student1"
refuses "a weights file without notes" "\-\-data" "$cafx" distill "$work/teacher/best.safetensors" --out "$work/no"
refuses "no such teacher" "no such file" "$cafx" distill "$work/nowhere" --out "$work/no"
head -c -40 "$work/student.safetensors" >"$work/cut.safetensors"
refuses "a file cut off" "cut.safetensors" "$cafx" render "$work/cut.safetensors" "$note" "$work/no.wav"
for made in no no.nam no.wav; do [ -e "$work/$made" ] && fail "a refused command left $made"; done
finish
