#!/usr/bin/env bash
# All that a machine with an NVIDIA GPU can tell about the CUDA backend, in one report:
#   the GPU tests, plain and under compute-sanitizer; the time of every kernel of a step beside its floor; the training step
#   beside PyTorch, eager and compiled, in turn.
#
#   experiments/bench/gpu.sh [REPORT.md] [BATCH]
#   VGPU=FOLDER experiments/bench/gpu.sh   rehearses on the virtual GPU in FOLDER: the tests, and no times
#
# Needs nvcc and cuDNN; takes what else it finds (compute-sanitizer, nsys, PyTorch) and says what it did not find.
set -euo pipefail
cd "$(dirname "$0")/../.."
report=${1:-gpu-report.md} batch=${2:-512} preset=cuda run=()
if [ -n "${VGPU:-}" ]; then
  preset=cuda-virtual run=("$VGPU/vgpu-run") batch=${2:-16}
elif ! nvidia-smi -L >/dev/null 2>&1; then
  echo "gpu.sh: there is no NVIDIA GPU here (nvidia-smi finds none); VGPU=FOLDER rehearses on the virtual one" >&2
  exit 2
fi
export PATH=$PATH:/usr/local/cuda/bin
build=build/$preset cafx=build/$preset/host/cafx
. scripts/packages.sh
install_packages $build_packages $test_packages
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset"
say() { printf '%s\n' "$*" | tee -a "$report"; }
: >"$report"
say "# cafx on a GPU" "" "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%Y-%m-%d)"
say '```'
"${run[@]}" "$cafx" doctor | tee -a "$report"
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit --format=csv | tee -a "$report"
say '```' "" "## Tests" '```'
failed=0
"${run[@]}" ctest --preset "$preset" -L gpu 2>&1 | tail -15 | tee -a "$report" || failed=1
say '```'

if [ -z "${VGPU:-}" ]; then
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
      for binary in test_ops test_golden_ops test_golden_model test_cuda_training; do
        say "compute-sanitizer $tool, $binary:" '```'
        # The largest sizes would take hours under a checker; they run above.
        CAFX_TEST_DEVICE=cuda compute-sanitizer --tool "$tool" --error-exitcode 1 "$build/tests/$binary" \
          --gtest_filter='-*Refuse*:*Thread*:*InstructionSet*:*RealSize*:*Preset*' 2>&1 | tail -3 | tee -a "$report" || failed=1
        say '```'
      done
    done
  else
    say "compute-sanitizer was not found: no checks beside the tests."
  fi
fi

options=(--preset paper --set model.unpool=hold --set "train.batch=$batch" --device cuda)
say "" "## One supervised step of $batch frames, kernel by kernel" ""
if [ -z "${VGPU:-}" ] && command -v nsys >/dev/null; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  nsys profile -q -c cudaProfilerApi --capture-range-end=stop --cuda-graph-trace=node -o "$work/step" "$cafx" bench --profile "${options[@]}"
  nsys stats -q -r cuda_gpu_kern_sum --format csv -o "$work/kernels" "$work/step.nsys-rep"
  "$cafx" info "${options[@]::6}" --json >"$work/config.json"
  python3 experiments/kernels/times.py "$work"/kernels*.csv "$work/config.json" "$batch" | tee -a "$report"
else
  "${run[@]}" "$cafx" bench --profile "${options[@]}" | tee -a "$report"
  say "nsys was not found, or this is the virtual GPU: no times by kernel."
fi

say "" "## Beside PyTorch, the supervised step, in turn" ""
python=${PYTHON:-python3}
config=$("$cafx" info "${options[@]::6}" --json | "$python" -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["config"]))')
for round in 1 2 3; do
  if [ -n "${VGPU:-}" ]; then
    say "the virtual GPU keeps no time"
    break
  fi
  "$cafx" bench "${options[@]}" --seconds 20 --json | "$python" -c '
import json, sys
r = json.load(sys.stdin)
print("cafx    train %.0f frames/s (%.0f useful GFLOP/s), pretrain %.0f, render %.0f" % (r["train"]["frames_per_second"], r["train"]["useful_gflops"], r["pretrain"]["frames_per_second"], r["render"]["frames_per_second"]))' | tee -a "$report"
  if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    "$python" experiments/bench/torch_cafx.py "$config" "$batch" 4 40 cuda | tee -a "$report"
  else
    say "PyTorch with CUDA was not found: no comparison."
    break
  fi
done
say "" "$([ $failed = 0 ] && echo 'All tests passed.' || echo 'SOME TESTS FAILED, see above.')"
echo "report: $report"
exit $failed
