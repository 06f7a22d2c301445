#!/usr/bin/env bash
# A training step of every preset that rounds, at its own sizes, in every precision, on a GPU: the kernels of these sizes are
# others than those of the small models that other tests have.
. "$(dirname "$0")/common.sh"
"$cafx" doctor >"$work/doctor" || fail "doctor"
if ! grep -q "it can be used" "$work/doctor"; then
  echo "skipped: $(tail -1 "$work/doctor")"
  exit 77
fi
presets=$("$cafx" info --help | sed -n 's/.*training start from: //p' | tr -d ',')
[ "$(wc -w <<<"$presets")" -gt 10 ] || fail "presets: $presets"
n=0
for preset in $presets; do
  for precision in bf16 fp16 tf32 fp32; do
    "$cafx" bench --device cuda --preset "$preset" --precision "$precision" --set train.batch=2 --profile >"$work/out" 2>"$work/err"
    code=$?
    grep -q "compute in fp32 alone" "$work/err" && break
    [ $code = 0 ] || { fail "$preset in $precision: $(tail -1 "$work/err")"; continue; }
    n=$((n + 1))
  done
done
[ $n -ge 36 ] || fail "$n steps"
finish
