#!/usr/bin/env bash
# Every C++ file of cafx and its tests with every clang that is installed, without a warning; syntax and types alone, a quarter
# of a build's time for each. GCC's warnings come from optimising: its builds show them.
#
#   tests/compilers.sh [BUILD]     BUILD: a configured folder with compile_commands.json (default: build/cpu)
#   CLANG_VERSIONS="14 16"         those alone
set -euo pipefail
cd "$(dirname "$0")/.."
commands=${1:-build/cpu}/compile_commands.json
[ -f "$commands" ] || { echo "no $commands: cmake --preset cpu makes it" >&2; exit 2; }
failed=0 tried=0
for version in ${CLANG_VERSIONS:-$(seq 14 25)}; do
  compiler=clang++-$version
  command -v "$compiler" >/dev/null || continue
  tried=$((tried + 1))
  # The command of each file, its compiler exchanged and its output left out; what clang does not know of GCC's options is passed over.
  if python3 - "$commands" "$compiler" <<'PY' | tr '\n' '\0' | xargs -0 -P "$(nproc)" -I{} sh -c '{}'; then
import json, re, shlex, sys
for entry in json.load(open(sys.argv[1])):
    words = shlex.split(entry["command"])
    start = next(i for i, word in enumerate(words) if re.search(r"(\+\+|clang|cc)[-0-9.]*$", word) and "ccache" not in word)
    words = [sys.argv[2], "-fsyntax-only", "-Werror", "-Wno-unknown-warning-option"] + words[start + 1:]
    at = words.index("-o")
    del words[at:at + 2]
    words = [w for w in words if w != "-c" and not w.startswith(("-Wno-restrict", "--param="))]
    print("cd " + shlex.quote(entry["directory"]) + " && " + shlex.join(words))
PY
    echo "$compiler: $(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))))' "$commands") files without a warning"
  else
    failed=1
    echo "FAILED: $compiler"
  fi
done
[ $tried -gt 0 ] || { echo "skipped: no clang++ of version ${CLANG_VERSIONS:-14 to 25} is installed"; exit 77; }
exit $failed
