#!/usr/bin/env bash
# `cafx reproduce eq` with models that train in a second: audio made, trained, measured, drawn; again without training. 20 s.
. "$(dirname "$0")/common.sh"
settings=$(sed -n 's/ //g; s/^\([a-z_]*=\)/--set model.\1/p' <<<"$tiny_model" | grep -v dnn)
# shellcheck disable=SC2206
eq=("$cafx" reproduce eq --out "$work/eq" $settings --set model.frame=512 --set train.epochs=2 --set train.hop=512)  # a frame that MR-STFT fits
cd "$root" || exit 1

"${eq[@]}" --quiet >"$work/out" 2>"$work/err" || fail "exit code $?: $(cat "$work/err")"
for file in report.html report.md figures/response-high-pass--400-Hz.tsv runs/eq.sweep/results.csv dry/noise-0.wav dry/test-noise.wav; do
  [ -s "$work/eq/$file" ] || fail "$file is missing"
done
[ "$(grep -c '^| \(low\|high\|peak\)' "$work/eq/report.md")" = 10 ] || fail "expected five filters, each by two losses: $(cat "$work/eq/report.md")"
[ "$(ls "$work"/eq/dry/*.wav | wc -l)" = 39 ] || fail "expected 24 notes and 15 signals: $(ls "$work/eq/dry" | wc -l)"
grep -q "low shelf, 300 Hz, 9 dB" "$work/eq/report.html" || fail "the page lacks a filter"
[ "$(grep -o '<svg class="chart' "$work/eq/report.html" | wc -l)" = 10 ] || fail "expected two charts for each filter"

# True responses are those of the filters: 9 dB far below the low shelf, -3 dB at the high-pass's frequency.
low=$(awk -F'\t' '/true/ {on = 1} on && $1 > 59 && $1 < 63 {print $2; exit}' "$work/eq/figures/response-low-shelf--300-Hz--9-dB.tsv")
awk -v v="$low" 'BEGIN {exit !(v > 8 && v < 9.5)}' || fail "the low shelf has $low dB at 60 Hz"

before=$(stat -c %Y "$work"/eq/runs/*/best.safetensors | sort | tr '\n' ' ')
cp "$work/eq/report.html" "$work/first.html"
"${eq[@]}" --quiet >"$work/out" 2>"$work/err" || fail "again: exit code $?: $(cat "$work/err")"
[ "$(stat -c %Y "$work"/eq/runs/*/best.safetensors | sort | tr '\n' ' ')" = "$before" ] || fail "finished models were trained again"
cmp -s "$work/first.html" "$work/eq/report.html" || fail "the same results make another page"

refuses "a setting without a table" "expected TABLE.KEY=VALUE" "$cafx" reproduce eq --out "$work/other" --set epochs=4
exit $((failures > 0))
