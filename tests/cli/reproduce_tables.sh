#!/usr/bin/env bash
# The comparisons of `cafx reproduce paper`: guitar against bass, both together, splits, instruments never heard, settings that
# are varied; trained in one folder, measured in another; nothing measured twice. Models that train in a second; 40 s of a CPU.
. "$(dirname "$0")/common.sh"
base() {
  cat <<EOT
name = "$1"
[data]
path = "datasets/notes"
effect = "FxChain"
setting = 1
chain = "fxchain1"
instrument = "guitar"
validation = 0.25
test = 0.25
$tiny_model
[train]
hop = 256
pretrain_epochs = 1
epochs = 20
refine_epochs = 0
[axes]
EOT
}
{ base instruments; echo 'data.instrument = ["guitar", "bass", "all"]'; } >"$work/instruments.toml"
{ base splits; echo 'data.split = ["note", "instrument"]'; } >"$work/splits.toml"
{ base parts; echo 'model.activation = ["relu", "tanh"]'; echo 'train.seed = [1, 2]'; } >"$work/parts.toml"
sweeps=(--sweep "$work/instruments.toml" --sweep "$work/splits.toml" --sweep "$work/parts.toml" --set train.epochs=2)
cp -r "$root/datasets/notes" "$work/notes"

"$cafx" reproduce paper "${sweeps[@]}" --data "$work/notes" --out "$work/trained" --train-only --quiet >"$work/out" 2>&1 \
  || fail "training: $(tail -3 "$work/out")"
[ -e "$work/trained/report.html" ] && fail "--train-only made a report"
[ "$(ls -d "$work"/trained/runs/default-* | wc -l)" = 7 ] || fail "expected 7 models: $(ls "$work/trained/runs")"
[ "$(cut -d, -f1 "$work/trained/runs/$(ls "$work/trained/runs" | grep -m1 default-)/metrics.csv" | grep -c train)" = 2 ] || fail "--set train.epochs=2 did not make two epochs"

# Elsewhere: neither the recordings nor the runs lie where they did.
mkdir "$work/here"
mv "$work/trained" "$work/here/paper"
mv "$work/notes" "$work/here/recordings"
mkdir -p "$work/here/recordings/Unheard/piano"
cp "$(ls "$work/here/recordings/Bass monophon/Samples/NoFX/"*.flac | head -1)" "$work/here/recordings/Unheard/piano/"
report=("$cafx" reproduce paper "${sweeps[@]}" --data "$work/here/recordings" --out "$work/here/paper" --hop 128 --report-only)
"${report[@]}" --quiet >"$work/out" 2>&1 || fail "the report elsewhere: $(tail -3 "$work/out")"
md=$work/here/paper/report.md
for words in "## From one instrument to the other" "## One model for guitar and bass" "## Random split against split by instrument" \
  "## Instruments never heard" "## What each part is for, preset default" "activation tanh"; do
  grep -q "$words" "$md" || fail "'$words' is not in the report"
done
for id in cross both split unheard ablation-default; do
  grep -q "id=\"$id\"" "$work/here/paper/report.html" || fail "table $id is not on the page"
done
grep -A7 "## One model for guitar and bass" "$md" | grep "FxChain 1" | grep -q "–" && fail "a gap in the table of both: $(grep -A7 '## One model' "$md" | tail -1)"

# Known measurements are taken as they are: a report again adds none and changes nothing; a lost one is made again.
cp "$work/here/paper/report.html" "$work/first.html"
measured=$(ls "$work/here/paper/measured" | sort)
first=$(ls "$work/here/paper/measured"/*.cbor | head -1)
touch -d '2020-01-01' "$work/here/paper/measured"/*.cbor
rm "$first"
"${report[@]}" --quiet >"$work/out" 2>&1 || fail "the report again: $(tail -3 "$work/out")"
[ "$(ls "$work/here/paper/measured" | sort)" = "$measured" ] || fail "the report again measured something else"
[ "$(find "$work/here/paper/measured" -newermt 2021-01-01 -name '*.cbor')" = "$first" ] || fail "more than what was lost was measured again"
cmp -s "$work/first.html" "$work/here/paper/report.html" || fail "the same measurements make another page"

# Recordings of which other notes would be the test are refused.
sed -i 's/"note": "G/"note": "X/' "$work"/here/paper/runs/default-*/split.json
rm -r "$work/here/paper/measured"
refuses "other recordings" "was trained with other recordings" "${report[@]}" --quiet
refuses "a setting without table" "expected TABLE.KEY=VALUE" "$cafx" reproduce paper "${sweeps[@]}" --set epochs=2 --data "$root/datasets/notes" --out "$work/x"
finish
