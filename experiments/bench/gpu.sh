#!/usr/bin/env bash
# All that a machine with an NVIDIA GPU can tell about the CUDA backend, in one report:
#   the GPU tests, plain and under compute-sanitizer; the time of every kernel of a step beside its floor; the training step
#   beside PyTorch, eager and compiled, in turn.
#
#   experiments/bench/gpu.sh [REPORT.md] [BATCH]
#   VGPU=FOLDER experiments/bench/gpu.sh   rehearses on the virtual GPU in FOLDER: the tests, and no times
#
# Needs nvcc and cuDNN; takes what else it finds (nvidia-smi, compute-sanitizer, nsys, PyTorch). What is missing or fails
# is a line in the report, and the rest goes on. CAFX_GPU_TESTS=REGEX runs only the tests of that name, and one of the
# programs under each checker: for the rehearsal in tests/gpu_rehearsal.sh.
set -uo pipefail
cd "$(dirname "$0")/../.."
report=${1:-gpu-report.md} batch=${2:-512} preset=cuda run=()
if [ -n "${VGPU:-}" ]; then
  preset=cuda-virtual run=("$VGPU/vgpu-run") batch=${2:-16}
elif ! command -v nvidia-smi >/dev/null; then
  echo "gpu.sh: nvidia-smi is not here, whether there is a GPU will show" >&2
elif ! nvidia-smi -L >/dev/null 2>&1; then
  echo "gpu.sh: there is no NVIDIA GPU here (nvidia-smi finds none); VGPU=FOLDER rehearses on the virtual one" >&2
  exit 2
fi
export PATH=$PATH:/usr/local/cuda/bin
build=build/$preset cafx=build/$preset/host/cafx
say() { printf '%s\n' "$@" | tee -a "$report"; }
: >"$report" || exit 2
failed=0
# bad WHAT: something failed that must not.
bad() {
  say "FAILED: $1"
  failed=1
}
. scripts/packages.sh
install_packages $build_packages $test_packages || say "Packages could not be installed; what follows may miss them."
if ! { cmake --preset "$preset" >/dev/null && cmake --build --preset "$preset"; }; then
  bad "the build (cmake --preset $preset); nothing else can be told"
  exit 1
fi
say "# cafx on a GPU" "" "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%Y-%m-%d)"
say '```'
"${run[@]}" "$cafx" doctor 2>&1 | tee -a "$report" || bad "cafx doctor"
if command -v nvidia-smi >/dev/null; then
  nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit --format=csv 2>&1 | tee -a "$report" ||
    say "nvidia-smi does not tell clocks and power."
else
  say "nvidia-smi was not found: no clocks, no power limit."
fi
say '```' "" "## Tests" '```'
"${run[@]}" ctest --preset "$preset" -L gpu ${CAFX_GPU_TESTS:+-R "$CAFX_GPU_TESTS"} 2>&1 | tail -40 | tee -a "$report" || bad "a test"
say '```'

binaries="test_ops test_golden_ops test_golden_model test_cuda_training test_gpus"
[ -z "${CAFX_GPU_TESTS:-}" ] || binaries=test_golden_ops
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    for binary in $binaries; do
      say "compute-sanitizer $tool, $binary:" '```'
      # The largest sizes would take hours under a checker; they run above.
      CAFX_TEST_DEVICE=cuda "${run[@]}" compute-sanitizer --tool "$tool" --error-exitcode 1 "$build/tests/$binary" \
        --gtest_filter='-*Refuse*:*Thread*:*InstructionSet*:*RealSize*:*Preset*:*IsLost*' 2>&1 | tail -3 | tee -a "$report" ||
        bad "compute-sanitizer $tool, $binary"
      say '```'
    done
  done
else
  say "compute-sanitizer was not found: no checks beside the tests."
fi

options=(--preset paper --set model.unpool=hold --set "train.batch=$batch" --device cuda)
say "" "## One supervised step of $batch frames, kernel by kernel" ""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
by_kernel() {
  nsys profile -q -c cudaProfilerApi --capture-range-end=stop --cuda-graph-trace=node -o "$work/step" "$cafx" bench --profile "${options[@]}" &&
    nsys stats -q -r cuda_gpu_kern_sum --format csv -o "$work/kernels" "$work/step.nsys-rep" &&
    "$cafx" info "${options[@]::6}" --json >"$work/config.json" &&
    python3 experiments/kernels/times.py "$work"/kernels*.csv "$work/config.json" "$batch"
}
if [ -z "${VGPU:-}" ] && command -v nsys >/dev/null; then
  by_kernel 2>&1 | tee -a "$report" || bad "times by kernel (nsys)"
else
  "${run[@]}" "$cafx" bench --profile "${options[@]}" 2>&1 | tee -a "$report" || bad "cafx bench --profile"
  say "nsys was not found, or this is the virtual GPU: no times by kernel."
fi

say "" "## Beside PyTorch, the supervised step, in turn" ""
python=${PYTHON:-python3}
command -v "$python" >/dev/null || say "$python was not found: no comparison."
config=$("${run[@]}" "$cafx" info "${options[@]::6}" --json | "$python" -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["config"]))') ||
  bad "cafx info --json"
for round in 1 2 3; do
  if [ -n "${VGPU:-}" ]; then
    say "the virtual GPU keeps no time"
    break
  fi
  "$cafx" bench "${options[@]}" --seconds 20 --json | "$python" -c '
import json, sys
r = json.load(sys.stdin)
print("cafx    train %.0f frames/s (%.0f useful GFLOP/s), pretrain %.0f, render %.0f" % (r["train"]["frames_per_second"], r["train"]["useful_gflops"], r["pretrain"]["frames_per_second"], r["render"]["frames_per_second"]))' 2>&1 | tee -a "$report" || bad "cafx bench"
  if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    "$python" experiments/bench/torch_cafx.py "$config" "$batch" 4 40 cuda 2>&1 | tee -a "$report" || say "PyTorch's step failed: no comparison."
  else
    say "PyTorch with CUDA was not found: no comparison."
    break
  fi
done
say "" "$([ $failed = 0 ] && echo 'All tests passed.' || echo 'SOMETHING FAILED, see above.')"
echo "report: $report"
exit $failed
