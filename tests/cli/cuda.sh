#!/usr/bin/env bash
# The commands on a GPU: two runs give equal bits, so does one that was killed at random moments and resumed; evaluation and
# rendering agree with the CPU; seeds side by side have the bits that each has alone; a batch that does not fit is refused before
# training.
. "$(dirname "$0")/common.sh"
"$cafx" doctor >"$work/doctor" || fail "doctor"
if ! grep -q "it can be used" "$work/doctor"; then
  echo "skipped: $(tail -1 "$work/doctor")"
  exit 77
fi
run=("${small[@]}" --set train.pretrain_epochs=1 --set train.epochs=2 --set train.refine_epochs=1 --set train.clip_norm=1
  --device cuda)
"$cafx" train "${run[@]}" --out "$work/whole" >/dev/null 2>"$work/err" || fail "training: $(cat "$work/err")"
"$cafx" train "${run[@]}" --out "$work/again" >/dev/null || fail "training again"
CAFX_CONVOLUTIONS=cudnn "$cafx" train "${run[@]}" --set train.epochs=1 --out "$work/cudnn" >/dev/null || fail "training with cuDNN"
[ "$(grep -c 'cuDNN runs' "$work/cudnn/log.txt")" -ge 4 ] || fail "the log says how cuDNN runs each convolution: $(cat "$work/cudnn/log.txt")"
same() {
  for file in best.safetensors metrics.csv result.json eval.json; do
    cmp "$work/whole/$file" "$1/$file" || fail "$2: $file differs"
  done
}
same "$work/again" "a second run"

export CAFX_CHECKPOINT_SECONDS=0
RANDOM=11
command=(train "${run[@]}" --out "$work/killed")
begun=0
for n in 1 2 3 4 5; do
  "$cafx" "${command[@]}" >/dev/null 2>"$work/err" &
  pid=$!
  for _ in $(seq 2000); do  # until it trains, then a little
    seen=$(grep -cE 'resumed|parameters' "$work/killed/log.txt" 2>/dev/null)
    [ "${seen:-0}" -gt $begun ] && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.01
  done
  begun=${seen:-0}
  sleep "0.$((RANDOM % 10))"
  kill -9 $pid 2>/dev/null
  wait $pid 2>/dev/null
  [ -f "$work/killed/checkpoint.safetensors" ] && command=(resume "$work/killed" --device cuda --quiet) || { rm -rf "$work/killed"; begun=0; }
done
unset CAFX_CHECKPOINT_SECONDS
"$cafx" "${command[@]}" >/dev/null 2>"$work/err" || fail "the last resume: $(cat "$work/err")"
same "$work/killed" "five kills"

grep -q "dense layers of DNN-SAAF *tf32, bf16 or fp16" "$work/doctor" || fail "doctor does not say which op runs in which precision"
"$cafx" train "${run[@]}" --precision bf16 --out "$work/bf16" >/dev/null 2>"$work/err" || fail "training in bf16: $(cat "$work/err")"
grep -q "products in bf16" "$work/bf16/log.txt" || fail "the log does not name the precision"
! cmp -s "$work/whole/best.safetensors" "$work/bf16/best.safetensors" || fail "bf16 gave the weights of fp32"
CAFX_CHECKPOINT_SECONDS=0 "$cafx" train "${run[@]}" --precision bf16 --out "$work/bf16_killed" >/dev/null 2>"$work/err" &
pid=$!
while kill -0 $pid 2>/dev/null && [ ! -f "$work/bf16_killed/checkpoint.safetensors" ]; do sleep 0.01; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
"$cafx" resume "$work/bf16_killed" --device cuda --quiet >/dev/null 2>"$work/err" || fail "resuming in bf16: $(cat "$work/err")"
cmp "$work/bf16/best.safetensors" "$work/bf16_killed/best.safetensors" || fail "a run in bf16 that was killed and resumed differs"
takes() { "$cafx" info --preset paper --device cuda --set train.batch=32 --set train.precision=$1 | grep -o ': [0-9.]* MiB' | tr -dc '0-9.'; }
# X1, u and their gradients: 1024 x 128 numbers of each of 32 frames, two bytes less.
awk "BEGIN { exit !($(takes fp32) - $(takes bf16) >= 32) }" || fail "in bf16 training takes $(takes bf16) MiB, in fp32 $(takes fp32)"

dry=$(ls "$root"/datasets/notes/*/Samples/NoFX/G61-55400-*.flac)
for device in cpu cuda; do
  "$cafx" eval "$work/whole" --hop 128 --csv "$work/$device.csv" --device $device >/dev/null || fail "eval on $device"
  "$cafx" render "$work/whole" "$dry" "$work/$device.wav" --hop 64 --device $device >/dev/null 2>&1 || fail "render on $device"
done
paste -d, "$work/cpu.csv" "$work/cuda.csv" | awk -F, 'NR > 1 { n = NF / 2; d = $3 - $(n + 3); if (d < 0) d = -d; if (d > 1e-4 * $3) bad = 1 } END { exit bad || NR < 3 }' ||
  fail "eval differs: $(cat "$work/cpu.csv" "$work/cuda.csv")"
sox -m -v 1 "$work/cpu.wav" -v -1 "$work/cuda.wav" -n stat 2>&1 | awk '/Maximum amplitude/ { if ($3 > 1e-4) bad = 1 } /Minimum amplitude/ { if ($3 < -1e-4) bad = 1 } END { exit bad }' ||
  fail "render differs"

# In bf16 the layers of a preset have kernels of their own: seeds side by side have the bits that each has alone.
short_notes
side=("$work/dry" "$work/wet" --preset default --device cuda --precision bf16 --set train.batch=16 --set train.hop=512
  --set train.pretrain_epochs=0 --set train.refine_epochs=0 --set train.epochs=1 --quiet)
"$cafx" train "${side[@]}" --seeds 3 --out "$work/side" >/dev/null 2>"$work/err" || fail "three seeds: $(cat "$work/err")"
for seed in 1 2 3; do
  "$cafx" train "${side[@]}" --set train.seed=$seed --out "$work/alone$seed" >/dev/null 2>"$work/err" || fail "seed $seed: $(cat "$work/err")"
  for file in checkpoint.safetensors best.safetensors; do
    cmp "$work/side/seed-$seed/$file" "$work/alone$seed/$file" || fail "seed $seed in company: $file differs"
  done
done
# Kernels that begin while the one before still runs change no bits.
CAFX_EARLY_LAUNCH=off "$cafx" train "${side[@]}" --set train.seed=1 --out "$work/plain" >/dev/null 2>"$work/err" || fail "plain edges: $(cat "$work/err")"
cmp "$work/alone1/checkpoint.safetensors" "$work/plain/checkpoint.safetensors" || fail "without early launches the checkpoint differs"

VGPU_MEM_MB=96 refuses "a batch that does not fit" "set train.batch = " "$cafx" train "${small[@]}" --device cuda \
  --set model.filters=128 --set model.dnn=[128] --set model.frame=1024 --set model.hop=512 --set train.batch=65536 --out "$work/large"
[ -z "$(nvidia-smi -L 2>/dev/null)" ] || echo "(the refusal was tried with this GPU's own memory)"
VGPU_DEVICES=2 CUDA_VISIBLE_DEVICES= refuses "a GPU that is hidden" "use --device cpu" "$cafx" train "${small[@]}" --device cuda --out "$work/none"
finish
