#!/usr/bin/env bash
# experiments/bench/gpu.sh on the virtual GPU, with stand-ins for the tools that only a machine with a GPU has: once with
# all of them, once with none, once with tools that fail. One test and one program under the checkers: for the script, not
# for the kernels.
#
#   VGPU=FOLDER tests/gpu_rehearsal.sh      after the preset cuda-virtual was built; minutes otherwise
set -u
cd "$(dirname "$0")/.."
[ -x "${VGPU:?the folder of the virtual GPU}/vgpu-run" ] || { echo "no vgpu-run in $VGPU" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
expect() {  # FILE WORDS
  grep -q -- "$2" "$1" || { echo "FAILED: '$2' is not in the report:"; cat "$1"; failures=1; }
}
mkdir "$work/tools" "$work/broken"
cat >"$work/tools/compute-sanitizer" <<'TOOL'
#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in --tool | --error-exitcode) shift 2 ;; *) break ;; esac
done
"$@" && echo "========= ERROR SUMMARY: 0 errors"
TOOL
printf '#!/bin/sh\n[ "$1" = -L ] && exit 1\necho "name, driver_version"\n' >"$work/tools/nvidia-smi"
for tool in compute-sanitizer nvidia-smi; do printf '#!/bin/sh\nexit 3\n' >"$work/broken/$tool"; done
chmod +x "$work"/*/*
export CAFX_GPU_TESTS='cuda.cli_gpus$' VGPU

PATH=$work/tools:$PATH experiments/bench/gpu.sh "$work/all.md" 2 >"$work/log" 2>&1 || { tail -20 "$work/log"; failures=1; }
for words in "name, driver_version" "100% tests passed" "racecheck, test_golden_ops" "0 errors" "the virtual GPU keeps no time" \
  "All tests passed"; do
  expect "$work/all.md" "$words"
done
experiments/bench/gpu.sh "$work/none.md" 2 >"$work/log" 2>&1 || { tail -20 "$work/log"; failures=1; }
command -v nvidia-smi >/dev/null || expect "$work/none.md" "nvidia-smi was not found"
command -v compute-sanitizer >/dev/null || expect "$work/none.md" "compute-sanitizer was not found"
PYTHON=no-such-python PATH=$work/broken:$PATH experiments/bench/gpu.sh "$work/broken.md" 2 >"$work/log" 2>&1 &&
  { echo "FAILED: a failing tool went unnoticed"; failures=1; }
for words in "nvidia-smi does not tell" "FAILED: compute-sanitizer memcheck" "no-such-python was not found" "SOMETHING FAILED"; do
  expect "$work/broken.md" "$words"
done
[ $failures = 0 ] && echo "all as expected"
exit $failures
