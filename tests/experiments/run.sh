#!/usr/bin/env bash
# tests/experiments/run.sh PYTHON FILE: a test of the experiments' Python, by pytest. Exit code 77: skipped, with the reason.
set -u
"$1" -c 'import pytest, numpy' 2>/dev/null || { echo "skipped: $1 has no pytest and numpy (python3-pytest, python3-numpy)"; exit 77; }
exec "$1" -m pytest -q -p no:cacheprovider "$2"
