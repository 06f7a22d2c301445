#!/usr/bin/env bash
# Which model learns a knob: two made devices, each with one knob at five positions, heard at two positions and on two
# notes that no training saw. Prints a table; models/README.md has that of seeds 1 and 2, each by itself.
#   experiments/knobs/run.sh [CAFX [SEEDS]]      SEEDS: as "1 2 3"
set -euo pipefail
cd "$(dirname "$0")/../.."
cafx=${1:-build/quickstart/host/cafx}
seeds=${2:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
TIMEFORMAT=%U

# The chain of a device at a position of its knob, 0 to 40: FxChain-2 at a gain, and FxChain-3 with a tone control, both
# with shelves of 10 dB, so that high notes are not left so quiet that their ESR decides alone.
chain() {
  case $1 in
    gain) echo "gain -10 bass 10 500 0.7 overdrive $2 0 treble -10 500 0.7" ;;
    tone) awk -v db="$2" 'BEGIN { db = db / 2 - 10; print "overdrive 30 0 gain -10 bass", db, "500 0.7 treble", -db, "500 0.7" }' ;;
  esac
}
# make DEVICE: notes 1 to 6 at 0, 10, 20, 30 and 40, note 7 for validation at 5 and 35, notes 8 and 9 for the test at 15 and 25.
make() {
  mkdir -p "$work/$1"
  echo "dry,wet,split,name,knob:knob" >"$work/$1/manifest.csv"
  local n=0 part at note
  for note in "datasets/notes/Gitarre monophon/Samples/NoFX"/*.flac; do
    n=$((n + 1))
    [ $n -gt 9 ] && break
    case $n in
      [1-6]) part=train positions="0 10 20 30 40" ;;
      7) part=validation positions="5 35" ;;
      *) part=test positions="15 25" ;;
    esac
    sox -D "$note" -r 16000 -e floating-point -b 32 "$work/$1/$n.wav" trim 0.1 0.9 2>/dev/null
    for at in $positions; do
      # shellcheck disable=SC2046
      sox -D "$work/$1/$n.wav" "$work/$1/$n-$at.wav" $(chain "$1" "$at") 2>/dev/null
      echo "$n.wav,$n-$at.wav,$part,$n,$at" >>"$work/$1/manifest.csv"
    done
  done
}
for device in gain tone; do make $device; done

echo "| model | weights | processor time | gain: ESR | MAE | tone: ESR | MAE |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
while IFS='|' read -r name preset settings; do
  args=()
  for s in $settings; do args+=(--set "$s"); done
  row="" weights="" seconds=0
  for device in gain tone; do
    rows=""
    for seed in $seeds; do
      rm -rf "$work/run"
      t=$({ time "$cafx" train --preset "$preset" --device cpu --threads 1 --set data.reader=manifest \
        --set "data.path=$work/$device/manifest.csv" --set 'data.knobs=knob: 0..40' --set model.sample_rate=16000 \
        --set train.seed="$seed" --set train.pretrain_epochs=0 --set train.refine_epochs=0 --set log.events=off "${args[@]}" --quiet --out "$work/run" \
        >/dev/null; } 2>&1 | tail -1)
      seconds=$(awk "BEGIN { print $seconds + $t }")
      rows+=$("$cafx" eval "$work/run" --part test --csv - | awk -F, 'NR > 1 { print }')$'\n'
      weights=$("$cafx" info "$work/run" | sed -n 's/.*total[^0-9]*\([0-9,]*\).*/\1/p' | head -1)
    done
    row+=$(awk -F, 'NF > 4 { esr += $5; mae += $3; n++ } END { printf " %.4f | %.4f |", esr / n, mae / n }' <<<"$rows")
  done
  echo "| $name | $weights | $(awk "BEGIN { printf \"%.0f s\", $seconds }") |$row"
done <<'T'
CAFx, `film`|default|train.hop=256 train.epochs=60
CAFx, `latent`|default|model.knob_layers=latent train.hop=256 train.epochs=60
LSTM, 24 units|lstm|train.epochs=200
WaveNet, 8 channels, FiLM|wavenet-feather|train.epochs=200
S4, 4 blocks, FiLM|s4-s|train.epochs=200
T
