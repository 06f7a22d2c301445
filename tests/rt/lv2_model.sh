#!/usr/bin/env bash
# lv2_model.sh CAFX PROJECT_FOLDER LV2_TOOLS PLAYER_BUNDLE: a model as a plugin of its own, exported, and under LV2's tools.
set -u
cafx=$1 root=$2 tools=$3 player=$4
[ -e "$player/manifest.ttl" ] || { echo "skipped: no plugin was built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "FAILED: $*"
  exit 1
}
"$cafx" train "$root/datasets/notes" --config "$root/tests/cli/tiny_model.toml" --set data.effect=Distortion --set data.setting=2 --set train.pretrain_epochs=0 \
  --set train.epochs=1 --set train.refine_epochs=0 --set train.hop=128 --out "$work/run" --quiet >"$work/out" 2>&1 || fail "train: $(cat "$work/out")"
"$cafx" export "$work/run" -o "$work/my amp.lv2/" --name 'My amp' >"$work/out" 2>&1 || fail "export: $(cat "$work/out")"
uri=$(cat "$work/my amp.lv2/plugin.uri")
grep -qF "$uri" "$work/out" || fail "export does not name the plugin: $(cat "$work/out")"
mkdir "$work/data" && "$cafx" export "$work/run" -o "$work/data" --format lv2 >"$work/out" 2>&1 && fail "a folder of something else was written to"
grep -q "is no bundle that cafx wrote" "$work/out" || fail "refused without a reason: $(cat "$work/out")"
exec bash "$tools" "$work/my amp.lv2" "$uri"
