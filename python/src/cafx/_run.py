import contextlib
import csv
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np

from . import _program
from ._display import Display
from ._errors import CafxError


def train(dry, wet=None, rate: Optional[int] = None, *, out=None, preset: Optional[str] = None, settings: Optional[dict] = None,
          config=None, device: str = "auto", threads: int = 0, progress: bool = True) -> "Run":
    """Learns the effect between dry and wet; returns when it is done, or when Ctrl-C has stopped it (the best is kept).

    dry, wet  two files, two folders with equal names, a data set's folder (wet left out), or two arrays (n,) with `rate` in Hz.
              Arrays are kept as WAV files in the run's folder recordings/, since going on needs them.
    rate      of arrays; files have their own (settings={"model.sample_rate": ...} is the model's)
    out       folder of the run, which holds none yet; None: a new one in runs/
    preset    "default", "paper", ... (`cafx train --help`)    config  a TOML file
    settings  what else is otherwise, such as {"train.epochs": 20, "model.filters": 64}
    device    "auto": the GPU where one can be used, "cpu", "cuda", "cuda:N"          threads  of the CPU; 0: all
    CafxError: the recordings are refused, a setting is wrong (with the nearest known one), training broke down.
    """
    folder = Path(out) if out is not None else _new_folder()
    try:
        with recordings(dry, wet, rate, keep=folder) as (words, _):
            words = ["train", *words, "--out", str(folder), *(["--preset", preset] if preset else []),
                     *(["--config", os.fspath(config)] if config else []), *_program.settings(settings)]
            return _work(words, folder, device, threads, progress)
    finally:
        if out is None:
            _remove_empty(folder)


def _new_folder() -> Path:
    """One in runs/ that is nobody else's, whatever trains at the same time."""
    for i in range(1000):
        folder = Path("runs") / (time.strftime("python-%Y%m%d-%H%M%S") + (f"-{i + 1}" if i else ""))
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            pass
        except OSError as e:
            raise CafxError(f"{folder}: cannot be made: {e.strerror}; name another folder with out=") from None
    raise CafxError(f"{folder}: is there already, and so are 999 others; name another folder with out=")


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def resume(run, device: str = "auto", threads: int = 0, progress: bool = True) -> "Run":
    """Goes on with a run that was stopped, to the same bits as one that never was. run: a Run or its folder."""
    folder = Path(getattr(run, "folder", run))
    return _work(["resume", str(folder)], folder, device, threads, progress)


def _work(words: List[str], folder: Path, device: str, threads: int, progress: bool) -> "Run":
    words = [_program.path(), *words, "--device", device, *(["--threads", str(threads)] if threads else []), "--json", "--quiet"]
    with Display(folder.name, progress, done=len(_rows(folder))) as display:
        seen = {"total": None}

        def tick():
            rows = _rows(folder)
            if seen["total"] is None and (folder / "config.toml").exists():
                seen["total"] = sum(int(_setting(folder, f"train.{k}") or 0) for k in ("pretrain_epochs", "epochs", "refine_epochs"))
            if seen["total"] is not None:
                last = rows[-1] if rows else {}
                shown = [f"{k} {last[k]:.4g}" for k in last if k.startswith("validation_") and isinstance(last[k], float)]
                display.show(len(rows), seen["total"], " ".join([str(last.get("stage", "")), *shown]))

        display.follow(words, tick, stopped_is_good=True)
        if display.interrupted and not (folder / "checkpoint.safetensors").exists():
            raise KeyboardInterrupt  # before anything was learned
    return Run(folder)


class Run:
    """A run is a folder; this reads it. folder: pathlib.Path."""

    def __init__(self, folder):
        self.folder = Path(folder)
        if not (self.folder / "config.toml").exists():
            raise CafxError(f"{folder}: is no run, it has no config.toml; give the folder that `cafx train --out` made")

    def __repr__(self):
        return f"<cafx run {self.folder}: {len(self.epochs)} epochs, {'finished' if self.finished else 'stopped; cafx.resume goes on'}>"

    @property
    def finished(self) -> bool:
        return bool(self.result)

    @property
    def result(self) -> Dict[str, Any]:
        """result.json: the best error, the epochs and steps that it took, hashes; empty before the end."""
        return _json(self.folder / "result.json")

    @property
    def test(self) -> Dict[str, Any]:
        """eval.json: MAE, ESR, ... of the notes kept for the test; empty without such notes, or before the end."""
        return _json(self.folder / "eval.json")

    @property
    def epochs(self) -> List[Dict[str, Any]]:
        """metrics.csv: a dict for each epoch: stage, epoch, steps, learning_rate, training and validation errors, ..."""
        return _rows(self.folder)

    @property
    def metrics(self):
        """epochs as a pandas.DataFrame; where pandas is missing the list itself."""
        try:
            import pandas
        except ImportError:
            return self.epochs
        return pandas.DataFrame(self.epochs)

    @property
    def model(self):
        """The best model so far, as cafx.load gives it."""
        from ._model import load
        return load(self.folder)

    def export(self, path) -> Path:
        """Writes the best model: .safetensors (cafx, libcafx-rt, Python), .onnx (any ONNX runtime), .nam (NAM hosts; LSTM and WaveNet),
        .lv2 (a plugin). CafxError: another ending, or a format that cannot hold the model."""
        _program.call(["export", str(self.folder), "-o", os.fspath(path)])
        return Path(path)

    def report(self, path=None) -> Path:
        """Writes one HTML page with figures, curves and players, about the notes kept for the test, else those for validation, else
        those that were learned."""
        path = Path(path) if path else self.folder / "report.html"
        split = _json(self.folder / "split.json")
        part = next((p for p in ("test", "validation", "train") if split.get(p)), "test")
        _program.call(["report", str(self.folder), "-o", str(path), "--part", part])
        return path

    def plot(self, axes=None):
        """The training and validation errors over the epochs, on matplotlib's axes (made where none are given); the axes."""
        try:
            import matplotlib.pyplot as plt
        except ImportError:
            raise CafxError("run.plot() needs matplotlib, which is not installed: pip install matplotlib") from None
        rows = self.epochs
        if not rows:
            raise CafxError(f"{self.folder}: no epoch is over yet, so there is nothing to plot")
        axes = axes or plt.subplots()[1]
        for key in rows[0]:
            if key.startswith(("training_", "validation_")):
                values = [row[key] if isinstance(row[key], float) and row[key] > 0 else np.nan for row in rows]
                axes.plot(range(1, len(rows) + 1), values, label=key.replace("_", " "))
        for i in range(1, len(rows)):
            if rows[i]["stage"] != rows[i - 1]["stage"]:
                axes.axvline(i + 0.5, color="0.8", zorder=0)
        axes.set(yscale="log", xlabel="epoch", title=self.folder.name)
        axes.legend()
        return axes

    def audio(self, dry=None, wet=None, rate: Optional[int] = None, seconds: float = 10.0) -> Dict[str, Any]:
        """Players for a notebook: {"dry": ..., "target": ..., "model": ...} as IPython.display.Audio, all of the same loudness scale.

        dry, wet  files or arrays (n,) with `rate`; None: the first recordings of the training. At most `seconds` from the start.
        """
        try:
            from IPython.display import Audio
        except ImportError:
            raise CafxError("run.audio() needs IPython, which is not installed: pip install ipython") from None
        sounds, rate = self.sounds(dry, wet, rate, seconds)
        loudest = max(1e-9, max(float(np.abs(x).max()) if len(x) else 0.0 for x in sounds.values()))
        return {name: Audio(0.7 / loudest * x, rate=rate, normalize=False) for name, x in sounds.items()}

    def sounds(self, dry=None, wet=None, rate: Optional[int] = None, seconds: float = 10.0):
        """What audio() plays: ({"dry": (n,), "target": (n,), "model": (n,)}, Hz)."""
        from . import _native
        from ._audio import read
        if dry is None:
            dry, wet = self._recordings()
        sounds = {}
        for name, given in (("dry", dry), ("target", wet)):
            if given is None:
                continue
            if isinstance(given, (str, os.PathLike)):
                x, rate = read(given, rate)
            else:
                x = _native.mono(given, f"run.audio({name})")
            if rate is None:
                raise CafxError("run.audio(array): the rate of the array is missing: audio(x, rate=48000)")
            sounds[name] = x[: int(seconds * rate)]
        sounds["model"] = self.model(sounds["dry"], rate)
        return sounds, rate

    def _recordings(self):
        reader = _setting(self.folder, "data.reader")
        dry, wet = _setting(self.folder, "data.dry"), _setting(self.folder, "data.wet")
        if reader == "files" and dry:
            return dry, wet or None
        if reader == "folders" and dry:
            for name in sorted(os.listdir(dry)):
                if not wet or os.path.exists(os.path.join(wet, name)):
                    return os.path.join(dry, name), os.path.join(wet, name) if wet else None
        raise CafxError(f"{self.folder}: its recordings are a data set's; say which: run.audio(dry_file, wet_file)")


@contextlib.contextmanager
def recordings(dry, wet, rate, keep: Optional[Path]) -> Iterator[Tuple[List[str], Callable[[str], str]]]:
    """The words that name recordings for the program, and what turns its sentences into ones about the caller's recordings.

    Arrays become WAV files: in the folder of the run `keep`, unless it is refused, or in one for the time.
    """
    from . import _native
    from ._audio import write
    is_array = [hasattr(x, "__array__") or isinstance(x, (list, tuple)) for x in (dry, wet) if x is not None]
    if not any(is_array):
        if rate is not None:
            raise CafxError(f"rate={rate}: is of arrays; files have a rate of their own, leave it out")
        yield [os.fsdecode(x) for x in (dry, wet) if x is not None], str
        return
    if not all(is_array) or wet is None:
        raise CafxError("arrays: expected dry and wet both as arrays; found one of them")
    if rate is None:
        raise CafxError("arrays: their rate is missing: rate=48000")
    rate = _native.positive_rate(rate, "rate")
    arrays = {"dry": _native.mono(dry, "dry"), "wet": _native.mono(wet, "wet")}
    if keep is not None and (keep / "checkpoint.safetensors").exists():  # before the recordings that it learns from are touched
        raise CafxError(f"{keep}: holds a run already; go on with it by cafx.resume({str(keep)!r}), or choose another folder with out=", 2)
    with contextlib.ExitStack() as stack:
        folder = keep / "recordings" if keep else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        was_there = keep is not None and keep.exists()
        files = {name: folder / f"{name}.wav" for name in arrays}

        def plainly(text: str) -> str:
            for name, file in files.items():
                for path in (str(file.absolute()), str(file)):
                    text = text.replace(path, name)
            return text

        try:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise CafxError(f"{folder}: cannot be made: {e.strerror}; name another folder with out=") from None
            for name, x in arrays.items():
                write(files[name], x, rate)
            yield [str(file) for file in files.values()], plainly
        except CafxError as e:
            if keep and not (keep / "checkpoint.safetensors").exists():
                for file in files.values():
                    with contextlib.suppress(OSError):
                        file.unlink()
                _remove_empty(folder)
                if not was_there:
                    _remove_empty(keep)
            raise CafxError(plainly(str(e)), e.exit_code) from None


def _json(path: Path) -> Dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _rows(folder: Path) -> List[Dict[str, Any]]:
    try:
        text = (folder / "metrics.csv").read_text()
    except FileNotFoundError:
        return []
    rows = []
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):  # a line that is being written is no line yet
        for key, value in row.items():
            if key != "stage" and value:
                row[key] = int(value) if key in ("epoch", "steps") else float(value)
        rows.append(row)
    return rows


def _setting(folder: Path, key: str) -> Optional[str]:
    """One value of the resolved config.toml that cafx wrote: `name = value` below `[table]`."""
    table, name = key.split(".", 1)
    here = ""
    for line in (folder / "config.toml").read_text().splitlines():
        if line.startswith("["):
            here = line.strip().strip("[]")
        found = re.match(r'([A-Za-z0-9_."]+) *= *("(?:[^"\\]|\\.)*"|[^#]*)', line)
        if found and here == table and found[1].strip('"') == name:
            value = found[2].strip()
            return json.loads(value) if value.startswith('"') else value
    return None
