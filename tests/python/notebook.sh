#!/usr/bin/env bash
# tests/python/notebook.sh PYTHON FOLDER: every cell of the notebooks of python/examples, executed as a user would from top to
# bottom; an exception in any fails. Exit code 77: skipped, with the reason.
set -u
python=$1 folder=$2
"$python" -c 'import nbclient, nbformat, ipykernel, matplotlib, numpy' 2>/dev/null || {
  echo "skipped: $python has no nbclient, ipykernel and matplotlib (python3-nbclient, python3-ipykernel, python3-matplotlib)"
  exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -z "${CAFX_PROGRAM:-}" ] || export PYTHONPATH=$folder/src
mkdir -p "$work/datasets"
cp -r "$folder/../datasets/notes" "$work/datasets/"
# The kernel is this Python, whatever else is installed.
"$python" - "$folder" "$work" <<'PY'
import pathlib, sys
import nbclient, nbformat
folder, work = map(pathlib.Path, sys.argv[1:])
for path in sorted((folder / "examples").glob("*.ipynb")):
    book = nbformat.read(path, 4)
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(work)}}).execute()
    outputs = [o for cell in book.cells if cell.cell_type == "code" for o in cell.outputs]
    kinds = {kind for o in outputs for kind in o.get("data", {})}
    assert "image/png" in kinds, f"{path.name}: no curve was shown, only {kinds}"
    assert any("<audio" in o["data"].get("text/html", "") for o in outputs if "data" in o), f"{path.name}: no player was shown"
    print(f"{path.name}: {sum(c.cell_type == 'code' for c in book.cells)} cells")
PY
