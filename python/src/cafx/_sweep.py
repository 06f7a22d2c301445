import json
import os
import re
import tempfile
import time
from typing import Any, Dict, List, Optional

from . import _program
from ._display import Display
from ._errors import CafxError


def sweep(spec, store: Optional[str] = None, device: Optional[str] = None, progress: bool = True):
    """Runs a sweep to its end, or goes on with it where it was left; the table of its runs.

    spec    a TOML file (host/sweep/README.md describes it), or the same as a dict: {"name": "rates", "axes": {"train.lr": [1e-3,
            3e-3]}, "data": {...}, "train": {...}}; "name" is then required, as going on needs it
    store   folder of all runs; what the file says, or "runs"
    Returns a pandas.DataFrame where pandas is installed, else a list of dicts: run, state, the settings of the axes, the metrics.
    Ctrl-C saves what runs and raises KeyboardInterrupt; the same call goes on.
    CafxError: the file is wrong (with line and nearest key), or recordings cannot be used.
    """
    words = []
    if store:
        words += ["--store", os.fspath(store)]
    if device:
        words += ["--device", device]
    if isinstance(spec, dict):
        if "name" not in spec:
            raise CafxError('sweep: a spec given as a dict needs "name", from which it is gone on with')
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "sweep.toml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(toml(spec))
            try:
                return _table(_run(path, words, progress))
            except CafxError as e:  # the caller has no such file, nor its lines
                raise CafxError(re.sub(re.escape(path) + r"(:\d+)?", "sweep", str(e)), e.exit_code) from None
    return _table(_run(os.fspath(spec), words, progress))


def _run(path: str, words: List[str], progress: bool) -> dict:
    store = words[words.index("--store"):][:2] if "--store" in words else []
    next_look = time.monotonic() + 1

    def show(results):
        states = [run["state"] for run in results["runs"] if run["kind"] == "train"]
        over = [s for s in states if s in ("done", "failed", "pruned", "blocked")]
        others = [f"{states.count(s)} {s}" for s in ("running", "failed", "pruned", "blocked") if s in states]
        display.show(len(over), len(states), ", ".join(others), unit="run")

    def tick():
        nonlocal next_look
        if not progress or time.monotonic() < next_look:
            return
        before = time.monotonic()
        said, code, _ = _program.run(["sweep", "status", path, *store, "--json", "--once"])
        next_look = time.monotonic() + max(1, 20 * (time.monotonic() - before))
        if code == 0:  # else it has not begun
            show(json.loads(said))

    with Display("sweep", progress) as display:
        results = json.loads(display.follow([_program.path(), "sweep", "run", path, *words, "--json", "--quiet"], tick))
        show(results)
    return results


def _table(results: dict):
    rows: List[Dict[str, Any]] = []
    for run in results["runs"]:
        if run["kind"] != "train":
            continue
        row = {"run": run["run"], "state": run["state"], **run["settings"], **run["metrics"], "seconds": run["seconds"]}
        if "reason" in run:
            row["reason"] = run["reason"]
        rows.append(row)
    try:
        import pandas
    except ImportError:
        return rows
    return pandas.DataFrame(rows)


def toml(tree: dict, table: str = "") -> str:
    """The few forms of TOML that a sweep needs: text, numbers, truth, lists, tables."""
    plain, below = [], []
    for key, value in tree.items():
        name = key if re.fullmatch(r"[A-Za-z0-9_.-]+", key) else json.dumps(key)  # dots: tables within tables, as cafx writes them
        if isinstance(value, dict) and table != "axes":
            path = f"{table}.{name}" if table else name
            below.append(f"\n[{path}]\n" + toml(value, path))
        else:
            plain.append(f"{name} = {_value(value)}\n")
    return "".join(plain + below)


def _value(value) -> str:
    value = _program.plain(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(os.fspath(value) if hasattr(value, "__fspath__") else str(value), ensure_ascii=False)
