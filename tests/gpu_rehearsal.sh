#!/usr/bin/env bash
# experiments/bench/gpu.sh on the virtual GPU, with stand-ins for the tools that only a machine with a GPU has: once with
# all of them, once with no checker and the other profiler, once with tools that fail. One test and one program under the
# checkers: for the script, not for the kernels.
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
# Profilers: they know the options that gpu.sh gives them, run the program, and tell what is in data/, in the format of the
# real ones with numbers made up.
cat >"$work/tools/ncu" <<TOOL
#!/bin/bash
while [ \$# -gt 0 ]; do
  case \$1 in
    --csv) shift ;;
    --profile-from-start | --clock-control | --cache-control) [[ \$2 =~ ^(off|none)\$ ]] || exit 1; shift 2 ;;
    --metrics) [[ \$2 == *gpu__time_duration.sum* ]] || exit 1; shift 2 ;;
    -*) echo "==ERROR== unrecognised option '\$1'"; exit 1 ;;
    *) break ;;
  esac
done
echo "==PROF== Connected to process 4242 (\$1)"
"\$@" || { echo "==ERROR== The application returned an error code (\$?)."; exit 1; }
echo "==PROF== Disconnected from process 4242"
cat "$PWD/tests/data/ncu.csv"
TOOL
cat >"$work/tools/nsys" <<TOOL
#!/bin/bash
out= command=\$1
while [ \$# -gt 0 ]; do
  case \$1 in
    profile | stats | -q | --capture-range-end=* | --cuda-graph-trace=*) shift ;;
    -o) out=\$2; shift 2 ;;
    -c | -r | --format | --force-overwrite) shift 2 ;;
    -*) echo "unrecognised option '\$1'"; exit 1 ;;
    *) break ;;
  esac
done
if [ "\$command" = profile ]; then
  "\$@" && : >"\$out.nsys-rep"
else
  [ -e "\$1" ] && cp "$PWD/tests/data/nsys.csv" "\${out}_cuda_gpu_kern_sum.csv"
fi
TOOL
for tool in compute-sanitizer nvidia-smi ncu nsys; do printf '#!/bin/sh\nexit 3\n' >"$work/broken/$tool"; done
chmod +x "$work"/*/*
export CAFX_GPU_TESTS='cuda.cli_gpus$' VGPU

CAFX_PROFILER=ncu PATH=$work/tools:$PATH experiments/bench/gpu.sh "$work/all.md" 2 >"$work/log" 2>&1 || { tail -20 "$work/log"; failures=1; }
for words in "name, driver_version" "100% tests passed" "racecheck, test_golden_ops" "0 errors" "the virtual GPU keeps no time" \
  "All tests passed"; do
  expect "$work/all.md" "$words"
done
# Every op of a step finds its kernels among those that the profiler names, in each precision; the sums are of the
# recorded times.
for precision in fp32 tf32 bf16; do expect "$work/all.md" "A step of 2 frames in $precision; measured"; done
expect "$work/all.md" "A step of 1 frames in fp32; measured"
grep -q "no kernel of that name" "$work/all.md" && { echo "FAILED: an op without a kernel:"; grep "no kernel" "$work/all.md"; failures=1; }
for words in "| DNN-SAAF forward | 1 | 12 |" "\\*sum\\*\\* | .* | 5073 |" "forward_kernel<64,3>.* | 1.70 | 24 %"; do
  expect "$work/all.md" "$words"
done
for precision in fp32 tf32 bf16; do
  [ "$(grep -c "^| $precision on a virtual GPU.* | 1 | [0-9]" "$work/all.md")" = 1 ] || { echo "FAILED: no errors of $precision"; failures=1; }
done
mkdir "$work/profiler"
ln -s ../tools/nsys "$work/profiler/nsys"
CAFX_PROFILER=nsys PATH=$work/profiler:$PATH experiments/bench/gpu.sh "$work/none.md" 2 >"$work/log" 2>&1 || { tail -20 "$work/log"; failures=1; }
expect "$work/none.md" "A step of 2 frames in bf16; measured"
expect "$work/none.md" "| DNN-SAAF forward | .* |"
command -v nvidia-smi >/dev/null || expect "$work/none.md" "nvidia-smi was not found"
command -v compute-sanitizer >/dev/null || expect "$work/none.md" "compute-sanitizer was not found"
CAFX_PROFILER=ncu PYTHON=no-such-python PATH=$work/broken:$PATH experiments/bench/gpu.sh "$work/broken.md" 2 >"$work/log" 2>&1 &&
  { echo "FAILED: a failing tool went unnoticed"; failures=1; }
for words in "nvidia-smi does not tell" "FAILED: compute-sanitizer memcheck" "FAILED: times by kernel, tf32 2 frames" "no-such-python was not found" \
  "SOMETHING FAILED"; do
  expect "$work/broken.md" "$words"
done
[ $failures = 0 ] && echo "all as expected"
exit $failures
