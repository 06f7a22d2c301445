"""Training from Python: from arrays and files, watched, stopped, refused."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest

import cafx
from conftest import RATE, TINY, notes


def weights(run):
    """The bytes of all tensors; what stands before them names the recordings' files."""
    data = (run.folder / "best.safetensors").read_bytes()
    return data[8 + int.from_bytes(data[:8], "little"):]


def test_training_on_arrays_is_training_on_files(run, pair, tmp_path):
    cafx.write(tmp_path / "dry.wav", pair[0], RATE)
    cafx.write(tmp_path / "wet.wav", pair[1], RATE)
    same = cafx.train(tmp_path / "dry.wav", tmp_path / "wet.wav", out=tmp_path / "run", settings=TINY, threads=1, progress=False)
    assert run.finished and same.finished
    assert weights(same) == weights(run)


def test_what_a_run_tells(run):
    epochs = run.epochs
    assert [e["stage"] for e in epochs] == ["pretrain"] + ["train"] * 4
    assert all(isinstance(e["training_mae"], float) and e["training_mae"] > 0 for e in epochs)
    assert run.result == json.loads((run.folder / "result.json").read_text())
    assert "5 epochs, finished" in repr(run)
    pandas = pytest.importorskip("pandas")
    assert isinstance(run.metrics, pandas.DataFrame) and len(run.metrics) == 5


def test_sounds_are_the_recordings_and_the_model(run, pair):
    sounds, rate = run.sounds(seconds=1.0)
    assert rate == RATE and {len(x) for x in sounds.values()} == {RATE}
    np.testing.assert_array_equal(sounds["dry"], pair[0][:RATE])
    np.testing.assert_array_equal(sounds["target"], pair[1][:RATE])
    np.testing.assert_array_equal(sounds["model"], run.model(pair[0][:RATE], RATE))


def test_players_and_curves_of_a_notebook(run):
    pytest.importorskip("IPython")
    assert set(run.audio(seconds=0.5)) == {"dry", "target", "model"}
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    axes = run.plot()
    shown = {line.get_label() for line in axes.get_lines()}
    assert {"training mae", "validation mae"} <= shown


def test_export_and_report(run, tmp_path):
    exported = cafx.load(run.export(tmp_path / "m.safetensors"))
    x = notes(1.0, seed=3)
    np.testing.assert_array_equal(exported(x), run.model(x))
    with pytest.raises(cafx.CafxError, match=r"m.xyz: no format has the ending .xyz; there are .safetensors, .onnx, .nam, .lv2"):
        run.export(tmp_path / "m.xyz")
    assert not (tmp_path / "m.xyz").exists()
    page = run.report(tmp_path / "page.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html")


@pytest.mark.parametrize("bad, words", [
    (dict(settings={"train.lrr": 1}), "train.lrr.*did you mean.*train.lr"),
    (dict(preset="huge"), "huge"),
    (dict(device="cuda:77"), "(?i)cuda"),
    (dict(device="tpu"), "--device tpu: expected cpu, cuda, cuda:N or auto"),
    (dict(settings={"train.silence_db": 0}), "louder than train.silence_db"),
])
def test_what_is_refused_is_one_sentence(pair, tmp_path, bad, words):
    with pytest.raises(cafx.CafxError, match=words) as e:
        cafx.train(*pair, RATE, out=tmp_path / "run", progress=False, **bad)
    assert e.value.exit_code == 2 and "\n" not in str(e.value)
    assert not (tmp_path / "run").exists()


def test_bad_arrays(pair, tmp_path):
    for arguments, words in [((pair[0], pair[1]), "rate is missing"), ((pair[0], None, RATE), "both as arrays"),
                             ((np.int16(pair[0] * 1000), pair[1], RATE), "full scale 1"),
                             ((np.stack(pair), pair[1], RATE), "one channel"), ((pair[0], "wet.wav", RATE), "both as arrays")]:
        with pytest.raises(cafx.CafxError, match=words):
            cafx.train(*arguments, out=tmp_path / "run", progress=False)
    for arguments, words in [((np.where(np.arange(len(pair[0])) == 9, np.nan, pair[0]), pair[1], RATE), "^dry: .*nan"),
                             ((pair[0][:9], pair[1][:9], RATE), "^dry: .*too few"), ((*pair, float("nan")), "whole Hz.*nan"),
                             ((*pair, "16000"), "whole Hz.*'16000'"), (("nowhere.wav", "nowhere2.wav", RATE), "leave it out")]:
        with pytest.raises(cafx.CafxError, match=words):
            cafx.train(*arguments, out=tmp_path / "run", settings=TINY, progress=False)
    assert not list(tmp_path.iterdir())  # nothing is left of what was refused
    with pytest.raises(cafx.CafxError, match="nowhere.wav"):
        cafx.train("nowhere.wav", "nowhere2.wav", out=tmp_path / "run", progress=False)
    with pytest.raises(cafx.CafxError, match="is no run"):
        cafx.Run(tmp_path)


def test_a_run_that_is_there_is_not_lost(run, pair):
    before = (run.folder / "best.safetensors").read_bytes()
    with pytest.raises(cafx.CafxError, match="holds a run already"):
        cafx.train(pair[0], -pair[1], RATE, out=run.folder, settings=TINY, progress=False)
    assert (run.folder / "best.safetensors").read_bytes() == before
    np.testing.assert_array_equal(run.sounds()[0]["target"], pair[1])  # nor are the recordings that it goes on with


def test_runs_without_a_name_do_not_meet(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cafx._run.time, "strftime", lambda _: "now")
    first, second = (cafx.train(*pair, RATE, settings={**TINY, "train.epochs": 1}, threads=1, progress=False) for _ in range(2))
    assert [first.folder.name, second.folder.name] == ["now", "now-2"]
    with pytest.raises(cafx.CafxError):
        cafx.train(*pair, RATE, settings={"train.lrr": 1}, progress=False)
    assert sorted(f.name for f in (tmp_path / "runs").iterdir()) == ["now", "now-2"]


class Bar:
    """Stands in for tqdm."""

    all = []

    def __init__(self, total, desc, unit, initial):
        self.total, self.n, self.desc, self.unit, self.moves, self.closed = total, initial, desc, unit, [initial], False
        Bar.all.append(self)

    def set_postfix_str(self, text, refresh):
        self.text = text

    def update(self, n):
        self.n += n
        self.moves.append(self.n)

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Bar))
    Bar.all.clear()
    return Bar.all


def test_the_bar_of_a_training(pair, tmp_path, bars):
    cafx.train(*pair, RATE, out=tmp_path / "run", settings=TINY, threads=1)
    (bar,) = bars
    assert (bar.total, bar.n, bar.unit, bar.closed, bar.moves[0]) == (5, 5, "epoch", True, 0)
    assert "validation_mae" in bar.text
    cafx.resume(tmp_path / "run", threads=1)
    assert bars[1].moves == [5]  # what was done before is no progress of this call


def test_the_bar_of_a_sweep(pair, tmp_path, bars):
    for name, x in zip(("dry", "wet"), pair):
        cafx.write(tmp_path / f"{name}.wav", x, RATE)
    settings = {key: [8, 8] if key == "model.dnn" else value for key, value in TINY.items()}
    spec = {"name": "two", "axes": {"train.lr": [1e-3, 3e-3]}, **settings, "data.reader": "files", "data.dry": tmp_path / "dry.wav",
            "data.wet": tmp_path / "wet.wav"}
    cafx.sweep(spec, store=tmp_path / "runs", device="cpu")
    (bar,) = bars
    assert (bar.total, bar.n, bar.unit, bar.closed) == (2, 2, "run", True)


def gone(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_training_ends_with_the_python_that_waits_for_it(pair, tmp_path):
    """A notebook's kernel that is restarted, or killed for memory, leaves nothing that computes."""
    code = ("import sys; sys.path[:0] = sys.argv[1:]; import cafx, numpy as np; from conftest import *\n"
            "dry = notes(); cafx.train(dry, np.tanh(4 * dry), RATE, out='run', settings={**TINY, 'train.epochs': 20000, 'train.patience': 20000},"
            " threads=1, progress=False)")
    kernel = subprocess.Popen([sys.executable, "-c", code, *sys.path], cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    training = [int(p) for p in open(f"/proc/{kernel.pid}/task/{kernel.pid}/children").read().split()]
    assert training
    kernel.kill()
    kernel.wait()
    while not all(map(gone, training)) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = [p for p in training if not gone(p)]
    for p in left:
        os.kill(p, signal.SIGKILL)
    assert not left
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()  # it saved before


def test_interrupt_keeps_the_best_and_resume_goes_on(pair, tmp_path):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job has not
    settings = {**TINY, "train.epochs": 20000, "train.patience": 20000}
    os.environ["CAFX_CHECKPOINT_SECONDS"] = "0.1"
    folder = tmp_path / "run"

    def interrupt():  # as Ctrl-C does, once something was learned
        for _ in range(600):
            if len(folder.exists() and cafx.Run(folder).epochs if (folder / "config.toml").exists() else []) >= 4:
                break
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        stopped = cafx.train(*pair, RATE, out=folder, settings=settings, threads=1, progress=False)
    finally:
        try:
            thread.join()
        except KeyboardInterrupt:  # it came too late
            pass
    assert not stopped.finished and 4 <= len(stopped.epochs) < 20000 and "stopped" in repr(stopped)
    x = notes(0.5)
    assert np.isfinite(stopped.model(x, RATE)).all()
    n = len(stopped.epochs)
    # Going on for an epoch or more, in a process of its own, so that it can be stopped as well.
    code = ("import sys, signal, threading, time, os; n = int(sys.argv[2]); sys.path[:0] = sys.argv[3:]; import cafx\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "def interrupt():\n"
            "    while len(cafx.Run(sys.argv[1]).epochs) <= n: time.sleep(0.1)\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n"
            "threading.Thread(target=interrupt, daemon=True).start()\n"
            "print(len(cafx.resume(sys.argv[1], threads=1).epochs))")
    said = subprocess.run([sys.executable, "-c", code, str(folder), str(n), *[p for p in sys.path if p.endswith("src")]], capture_output=True,
                          text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    assert int(said.stdout) > n
    assert "run:" in said.stderr  # the progress of a training that is not on a terminal
