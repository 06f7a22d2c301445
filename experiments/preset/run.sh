#!/usr/bin/env bash
# What learns best on the shipped notes: one change at a time against the default preset, a short training each
# (14 supervised epochs, 49,000 frames), ESR of the two notes kept for the test. Prints the table of models/cafx/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
cafx=${1:-build/quickstart/host/cafx}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "| change against the default | ESR G61-55400 | ESR G71-55400 | MAE |"
echo "| --- | --- | --- | --- |"
while IFS='|' read -r name settings; do
  args=()
  for s in $settings; do args+=(--set "$s"); done
  "$cafx" train --config experiments/quickstart/quickstart.toml --set train.pretrain_epochs=5 --set train.epochs=14 \
    --set train.refine_epochs=0 "${args[@]}" --quiet --out "$work/run" >/dev/null
  "$cafx" eval "$work/run" --hop 512 --csv - | awk -F, -v name="$name" '
    NR > 1 { esr[NR] = $5; mae += $3 } END { printf "| %s | %.5f | %.5f | %.5f |\n", name, esr[2], esr[3], mae / (NR - 1) }'
  rm -rf "$work/run"
done <<'T'
none|
other seed|train.seed=2
unpool positions|model.unpool=positions
softplus in DNN-SAAF|model.activation=softplus
tanh in DNN-SAAF|model.activation=tanh
dense layers glorot_uniform|model.dense_init=glorot_uniform
no pretraining|train.pretrain_epochs=0
no SAAF (last layer linear)|model.saaf.enabled=false
SAAF on [-0.3, 0.3]|model.saaf.lo=-0.3 model.saaf.hi=0.3
SAAF on [-0.1, 0.1]|model.saaf.lo=-0.1 model.saaf.hi=0.1
SAAF on [-3, 3]|model.saaf.lo=-3 model.saaf.hi=3
SAAF curves start normal(0, 0.05)|model.saaf.init=normal
SAAF order 1|model.saaf.order=1
SAAF L2 1e-4|model.saaf.l2=1e-4
SAAF Lipschitz 1.0|model.saaf.lipschitz=1.0
batch 32|train.batch=32
learning rate 1e-3|train.lr=1e-3
learning rate 6e-3|train.lr=6e-3
silent frames kept|train.silence_db=-200
constant rate|train.schedule=constant
T
