#!/usr/bin/env bash
# tests/python/module.sh PYTHON FOLDER: the tests of the Python module by pytest, or of the installed one where CAFX_PROGRAM is not
# set. Exit code 77: skipped, with the reason.
set -u
"$1" -c 'import pytest, numpy' 2>/dev/null || { echo "skipped: $1 has no pytest and numpy (python3-pytest, python3-numpy)"; exit 77; }
cd "$2" && exec "$1" -m pytest -q -p no:cacheprovider tests
