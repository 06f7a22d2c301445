# tests/cli/sweep_common.sh -- a sweep of runs that take a fraction of a second each.
. "$(dirname "$0")/common.sh"

# tiny_sweep FILE NAME RATES SEEDS EPOCHS: a grid over effects, rates and seeds, with shared pretraining.
tiny_sweep() {
  cat >"$1" <<EOF
name = "$2"
[data]
path = "$root/datasets/notes"
test_notes = ["G61-55400", "G71-55400"]
$tiny_model
[train]
hop = 256
pretrain_epochs = 2
epochs = $5
refine_epochs = 1
warmup_steps = 0
[axes]
"data.effect+data.setting" = [["Distortion", 2], ["EQ", 2]]
train.lr = $3
train.seed = $4
[pretrain]
train.seed = 1
${6:-}
EOF
}
