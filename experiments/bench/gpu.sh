#!/usr/bin/env bash
# Tests and measures the CUDA backend on a machine with an NVIDIA GPU, in one report:
#   the GPU tests, plain and under compute-sanitizer; the time of every kernel of a step beside its floor; the training step
#   beside PyTorch, eager and compiled, in turn; what tf32, bf16 and fp16 do to the final error.
#
#   experiments/bench/gpu.sh [REPORT.md] [BATCH]
#   VGPU=FOLDER experiments/bench/gpu.sh   rehearses on the virtual GPU in FOLDER: the tests, and no times
#
#   CAFX_BUILD=FOLDER experiments/bench/gpu.sh   takes what was built there, perhaps on another machine: nothing is installed or
#                                                built, and the test programs run without ctest
#   CAFX_SECONDS=240                             ends by then: a subset under the checkers, shorter measurements
#
# Needs nvcc and cuDNN; takes what else it finds (nvidia-smi, compute-sanitizer, nsys or else ncu, PyTorch). What is missing
# or fails is a line in the report, and the rest goes on. CAFX_PROFILER=nsys, ncu or none chooses. CAFX_GPU_TESTS=REGEX runs only
# the tests of that name, and one of the programs under each checker: for the rehearsal in tests/gpu_rehearsal.sh.
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
build=${CAFX_BUILD:-build/$preset} cafx=${CAFX_BUILD:-build/$preset}/host/cafx
say() { printf '%s\n' "$@" | tee -a "$report"; }
: >"$report" || exit 2
failed=0
# bad WHAT: notes a failure that fails the report.
bad() {
  say "FAILED: $1"
  failed=1
}
# within SECONDS COMMAND...: at most as long, and no longer than what is left.
within() {
  local most=$1 left=$((${CAFX_SECONDS:-1000000} - SECONDS))
  shift
  if [ $left -lt 5 ]; then
    say "No time is left for: ${*:0:4}"
    return 1
  fi
  timeout --foreground $((most < left ? most : left)) "$@"
}
# brief FEW MANY: FEW where time is short.
brief() { if [ -n "${CAFX_SECONDS:-}" ]; then echo "$1"; else echo "$2"; fi; }
if [ -z "${CAFX_BUILD:-}" ]; then
  . scripts/packages.sh
  install_packages $build_packages $test_packages || say "Packages could not be installed; what follows may miss them."
  if ! { cmake --preset "$preset" >/dev/null && cmake --build --preset "$preset"; }; then
    bad "the build (cmake --preset $preset); nothing else can be told"
    exit 1
  fi
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
binaries="test_ops test_golden_ops test_golden_model test_cuda_training test_gpus"
if [ -z "${CAFX_BUILD:-}" ]; then
  "${run[@]}" ctest --preset "$preset" -L gpu ${CAFX_GPU_TESTS:+-R "$CAFX_GPU_TESTS"} 2>&1 | tail -40 | tee -a "$report" || bad "a test"
else
  # Tests of the CPU alone or of the virtual GPU are skipped, as in tests/*.cmake.
  cpu='*Refuse*:Context.*:*Thread*:*InstructionSet*:*Preset*:*Projection*:*SteadyState*:*IsLost*'
  for binary in $binaries; do
    [ -x "$build/tests/$binary" ] || { say "$binary was not built."; continue; }
    CAFX_TEST_DEVICE=cuda within 120 "${run[@]}" "$build/tests/$binary" --gtest_filter="-$cpu" 2>&1 |
      grep -E "FAILED|PASSED|Failure|error" | head -20 | sed "s/^/$binary: /" | tee -a "$report"
    [ "${PIPESTATUS[0]}" = 0 ] || bad "$binary"
  done
fi
say '```'

[ -z "${CAFX_GPU_TESTS:-}" ] || binaries=test_golden_ops
options=(--preset paper --set model.unpool=hold --set "train.batch=$batch" --device cuda)
say "" "## One supervised step of $batch frames, kernel by kernel" ""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# by_kernel PRECISION BATCH: every kernel of one step.
by_kernel() {
  local step=("${run[@]}" "$cafx" bench --profile "${options[@]}" --set "train.batch=$2" --precision "$1")
  "${run[@]}" "$cafx" info "${options[@]::6}" --json >"$work/config.json" || return 1
  rm -f "$work"/kernels*
  if [ "$profiler" = nsys ]; then
    within 120 nsys profile -q -c cudaProfilerApi --capture-range-end=stop --cuda-graph-trace=node -o "$work/step" --force-overwrite true "${step[@]}" &&
      nsys stats -q -r cuda_gpu_kern_sum --format csv -o "$work/kernels" "$work/step.nsys-rep" || return 1
  else
    # Clocks and caches as in a run; a graph's kernels are measured one by one.
    within 120 ncu --csv --profile-from-start off --clock-control none --cache-control none \
      --metrics gpu__time_duration.sum,dram__bytes.sum,launch__registers_per_thread,sm__cycles_elapsed.avg,smsp__inst_executed.avg \
      "${step[@]}" >"$work/kernels.csv" ||
      { tail -3 "$work/kernels.csv"; return 1; }
  fi
  python3 experiments/kernels/times.py "$work"/kernels*.csv "$work/config.json" "$2" "$1"
}
few=32
[ -z "${VGPU:-}" ] || few=1
profiler=${CAFX_PROFILER:-none}
if [ -z "${CAFX_PROFILER:-}${VGPU:-}" ]; then
  for profiler in nsys ncu none; do command -v $profiler >/dev/null && break; done
fi
if [ "$profiler" != none ]; then
  # With few frames too: launches and one-block kernels show there.
  for step in "fp32 $batch" "tf32 $batch" "bf16 $batch" "fp32 $few"; do
    by_kernel $step 2>&1 | tee -a "$report"
    [ "${PIPESTATUS[0]}" = 0 ] || bad "times by kernel, $step frames"
    say ""
  done
else
  "${run[@]}" "$cafx" bench --profile "${options[@]}" 2>&1 | tee -a "$report" || bad "cafx bench --profile"
  say "Neither nsys nor ncu was found, or this is the virtual GPU: no times by kernel."
fi

say "" "## Kernels that begin while the one before still runs, and plain edges" ""
# train PRESET BATCH: frames a second of a step in bf16; its name in the report is that of the environment's CAFX_EARLY_LAUNCH.
train() {
  within 30 "${run[@]}" "$cafx" bench --preset "$1" --set "train.batch=$2" --precision bf16 --device cuda --seconds $(brief 3 10) --json |
    python3 -c 'import json, sys; print("%s at %s, early launches %s: %.0f frames/s" % (*sys.argv[1:], json.load(sys.stdin)["train"]["frames_per_second"]))' \
      "$1" "$2" "${CAFX_EARLY_LAUNCH:-on}"
}
if [ -n "${VGPU:-}" ]; then
  say "the virtual GPU keeps no time"
else
  for step in "default 16" "paper $few" "paper $batch"; do
    for early in on off on off; do
      CAFX_EARLY_LAUNCH=$early train $step 2>&1 | tee -a "$report"
      [ "${PIPESTATUS[0]}" = 0 ] || bad "cafx bench, early launches $early"
    done
  done
  for early in on off; do  # the same weights
    CAFX_EARLY_LAUNCH=$early within 120 "$cafx" train datasets/notes --set data.effect=Distortion --set data.setting=2 --preset default --device cuda \
      --precision bf16 --set train.hop=512 --set train.pretrain_epochs=0 --set train.refine_epochs=0 --set train.epochs=2 --quiet \
      --out "$work/early_$early" >/dev/null 2>>"$report" || bad "a training, early launches $early"
  done
  if cmp "$work"/early_{on,off}/checkpoint.safetensors 2>&1 | tee -a "$report" && [ -s "$work/early_on/checkpoint.safetensors" ]; then
    say "Two epochs with either leave the same checkpoint."
  fi
  cmp -s "$work"/early_{on,off}/checkpoint.safetensors || bad "early launches change the weights"
fi

say "" "## Beside PyTorch, the supervised step, in turn" ""
python=${PYTHON:-python3}
command -v "$python" >/dev/null || say "$python was not found: no comparison."
config=$("${run[@]}" "$cafx" info "${options[@]::6}" --json | "$python" -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["config"]))') ||
  bad "cafx info --json"
for round in $(brief 1 "1 2 3"); do
  if [ -n "${VGPU:-}" ]; then
    say "the virtual GPU keeps no time"
    break
  fi
  for precision in fp32 tf32 bf16 fp16; do
    within 60 "$cafx" bench "${options[@]}" --precision $precision --seconds $(brief 6 20) --json | "$python" -c '
import json, sys
r = json.load(sys.stdin)
print("cafx %s train %.0f frames/s (%.0f useful GFLOP/s), pretrain %.0f, forward %.0f" % (sys.argv[1], r["train"]["frames_per_second"], r["train"]["useful_gflops"], r["pretrain"]["frames_per_second"], r["render"]["frames_per_second"]))' $precision 2>&1 | tee -a "$report"
    [ "${PIPESTATUS[0]}" = 0 ] || bad "cafx bench, $precision"
  done
  if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    for precision in fp32 tf32 bf16 fp16; do
      CAFX_TORCH_COMPILE=$(brief default max-autotune) within $(brief 60 600) "$python" experiments/bench/torch_cafx.py "$config" "$batch" 4 \
        $(brief 6 40) cuda $precision 2>&1 | grep '^{' | tee -a "$report" || say "PyTorch's step failed: no comparison in $precision."
    done
  else
    say "PyTorch with CUDA was not found: no comparison."
    break
  fi
done

say "" "## What a precision does to the final error" ""
short=() epochs=5 hop=512 seeds="1 2"
if [ -n "${VGPU:-}" ]; then  # a model that trains in seconds there
  epochs=1 hop=128 seeds=1
  mapfile -t short < <(echo --set=train.hop=256 && sed -n 's/ //g; s/^\([a-z_]*=\)/--set=model.\1/p' tests/cli/tiny_model.toml)
fi
CAFX_HOP=$hop CAFX_SEEDS=$seeds within $(brief 60 3600) "${run[@]}" experiments/precision/run.sh "$cafx" cuda $epochs "${short[@]}" 2>&1 | tee -a "$report"
[ "${PIPESTATUS[0]}" = 0 ] || bad "the table of precisions is not whole"

say "" "## Under compute-sanitizer" ""
if command -v compute-sanitizer >/dev/null; then
  for tool in $(brief "memcheck racecheck" "memcheck racecheck initcheck synccheck"); do
    for binary in $(brief test_golden_ops "$binaries"); do
      say "compute-sanitizer $tool, $binary:" '```'
      # The largest sizes would take hours under a checker; they run above.
      CAFX_TEST_DEVICE=cuda within 3600 "${run[@]}" compute-sanitizer --tool "$tool" --error-exitcode 1 "$build/tests/$binary" \
        --gtest_filter='-*Refuse*:*Thread*:*InstructionSet*:*RealSize*:*Preset*:*IsLost*' 2>&1 | tail -3 | tee -a "$report" ||
        bad "compute-sanitizer $tool, $binary"
      say '```'
    done
  done
else
  say "compute-sanitizer was not found: no checks beside the tests."
fi

say "" "$([ $failed = 0 ] && echo 'All tests passed.' || echo 'SOMETHING FAILED, see above.')"
echo "report: $report"
exit $failed
