#!/usr/bin/env bash
# tests/python/onnx.sh CAFX PROJECT_FOLDER VENV: onnx_forward.py with onnxruntime, which Debian does not have: from the
# Python registry, in a virtual environment that is made once. Exit code 77: skipped, with the reason.
set -u
cafx=$1 root=$2 venv=$3
skip() {
  echo "skipped: $*"
  exit 77
}
if ! "$venv/bin/python" -c 'import onnxruntime, numpy' 2>/dev/null; then
  /usr/bin/env python3 -m venv "$venv" >/dev/null 2>&1 || skip "no virtual environment could be made in $venv (python3-venv)"
  "$venv/bin/pip" install -q --disable-pip-version-check 'onnxruntime>=1.17,<2' numpy >"$venv/pip.log" 2>&1 ||
    skip "onnxruntime could not be installed from the Python registry: $(tail -n 1 "$venv/pip.log")"
fi
exec "$venv/bin/python" "$root/tests/python/onnx_forward.py" "$cafx" "$root"
