#!/usr/bin/env bash
# `cafx reproduce paper` with a model that trains in seconds: trained, measured, drawn, done again without training, stopped and
# gone on with, and its page opened in Chromium. Half a minute.
. "$(dirname "$0")/common.sh"
cat >"$work/small.toml" <<EOF
name = "small"
[data]
path = "datasets/notes"
validation = 0.09
test = 0.17
$tiny_model
[train]
hop = 256
pretrain_epochs = 2
epochs = 3
refine_epochs = 1
[axes]
"data.instrument+data.effect+data.setting+data.chain" = [["guitar", "Distortion", 2, ""], ["bass", "FxChain", 1, "fxchain1"]]
[pretrain]
data.effect = "Distortion"
data.setting = 2
data.chain = ""
EOF
paper=("$cafx" reproduce paper --sweep "$work/small.toml" --data "$root/datasets/notes" --out "$work/paper" --hop 128)

"${paper[@]}" --plan >"$work/plan" || fail "the plan: $(cat "$work/plan")"
grep -q "2 training runs from 2 pretrainings" "$work/plan" || fail "the plan says: $(head -3 "$work/plan")"
[ -e "$work/paper/report.html" ] && fail "--plan made a report"

CAFX_CHECKPOINT_SECONDS=0 timeout -s INT 2 "${paper[@]}" --quiet >"$work/out" 2>&1   # stopped somewhere, or done: both are well
"${paper[@]}" --quiet >"$work/out" 2>"$work/err" || fail "the run: $(cat "$work/err")"
for file in report.html report.md figures/filters.tsv figures/unsupervised.tsv figures/waveshaping-default-bass-fxchain-1.tsv; do
  [ -s "$work/paper/$file" ] || fail "$file is missing"
done
for words in "Distortion 2, guitar" "FxChain 1, bass" "The network models distortion." "Every run" "the other: dry"; do
  grep -q "$words" "$work/paper/report.html" || fail "'$words' is not on the page"
done
grep -q "| published MAE | published ESR |" "$work/paper/report.md" || fail "the tables have no column of what is published"
grep -qE '^\| FxChain 1, bass .*\| 0.0060 to 0.0259 \| 0.0009 to 0.0055 \|$' "$work/paper/report.md" ||
  fail "FxChain's published figures do not stand beside its model"
[ "$(grep -o '<audio' "$work/paper/report.html" | wc -l)" = 10 ] || fail "expected 10 players"
if command -v gnuplot >/dev/null; then
  [ -s "$work/paper/figures/filters.svg" ] && [ -s "$work/paper/figures/filters.pdf" ] || fail "gnuplot drew nothing"
else
  grep -q "gnuplot is not installed" "$work/err" || fail "nothing says that gnuplot is missing"
fi

cp "$work/paper/report.html" "$work/first.html"
"${paper[@]}" --quiet --report-only >"$work/out" 2>&1 || fail "the report alone: $(cat "$work/out")"
cmp -s "$work/first.html" "$work/paper/report.html" || fail "the same results make another page"

refuses "no amount" "choose how much" "$cafx" reproduce paper
refuses "notes of no set that is made" "is for notes that are made" "$cafx" reproduce paper --size quick --notes 30 --plan --out "$work/none"
refuses "a plan of notes that are not made" "make_notes.py" "$cafx" reproduce paper --size evening --plan --out "$work/none"
[ -e "$work/none/notes" ] && fail "--plan made notes"
refuses "two amounts" "excludes" "$cafx" reproduce paper --quick --size evening
refuses "no such amount" "huge" "$cafx" reproduce paper --size huge
refuses "the whole without recordings" "choose how much" "$cafx" reproduce paper --size full
refuses "no folder" "is no folder" "$cafx" reproduce paper --quick --data /nowhere
refuses "parts of a size without parts" "--parts chooses of the whole" "$cafx" reproduce paper --quick --parts form --plan --out "$work/none"
refuses "presets of a size without them" "--presets chooses of the whole" "$cafx" reproduce paper --quick --presets paper --plan --out "$work/none"
refuses "takes that are not there" "/nowhere: is no folder" "$cafx" reproduce paper --quick --takes /nowhere --plan --out "$work/none"
printf '[data]\n' >"$work/bad.toml"
refuses "a sweep without path" "no line 'path = ...'" "$cafx" reproduce paper --sweep "$work/bad.toml" --data "$root/datasets/notes"

# The whole of the paper, planned on notes that bear the names of all settings.
find "$root/datasets/notes" -name '*.flac' | while read -r file; do
  name=$(basename "$file") folder="$work/all/$(basename "$(dirname "$file")")"
  mkdir -p "$folder"
  for setting in 1 2 3; do
    case $name in *-1111-*) to=$name;; *) to=$(echo "$name" | sed -E "s/-([0-9]{3})[0-9]-/-\\1$setting-/");; esac
    cp "$file" "$folder/$to"
  done
done
"$cafx" reproduce paper --data "$work/all" --parts models --presets default --out "$work/whole" --plan >"$work/plan" 2>&1 || fail "the whole: $(tail -1 "$work/plan")"
grep -q "66 points are 66 training runs from 2 pretrainings" "$work/plan" || fail "the whole is planned as: $(head -1 "$work/plan")"
"$cafx" reproduce paper --size evening --data "$work/all" --out "$work/evening" --plan >"$work/plan" 2>&1 || fail "an evening: $(tail -1 "$work/plan")"
grep -q "30 points are 30 training runs from 2 pretrainings" "$work/plan" || fail "an evening is planned as: $(head -1 "$work/plan")"
refuses "no such part" "there is no such part; there are models, form" "$cafx" reproduce paper --data "$work/all" --parts figures --out "$work/whole"
refuses "no such preset" "did you mean .paper." "$cafx" reproduce paper --data "$work/all" --presets papr --out "$work/whole"

chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$chromium" ] || ! command -v python3 >/dev/null; then
  [ $failures = 0 ] || finish
  echo "skipped: no Chromium, so the page was not opened (apt-get install chromium)"
  exit 77
fi
python3 "$root/tests/paper/page.py" "$chromium" "$work/paper/report.html" || fail "the page in Chromium"
finish
