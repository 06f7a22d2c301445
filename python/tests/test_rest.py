"""Findings, sweeps, audio files, and the program on PATH."""
import os
import subprocess
import sys

import numpy as np
import pytest

import cafx
from cafx import _program, _sweep
from conftest import RATE, TINY, notes


def test_check_finds_what_is_planted(pair, tmp_path):
    dry, wet = pair
    fine = cafx.check(dry, wet, RATE)
    assert fine.accepted and fine.pairs == 8
    late = cafx.check(dry, np.concatenate([np.zeros(37, np.float32), wet])[: len(wet)], RATE)
    assert any(f.code == "latency" and "37" in f.text for f in late)
    assert "dry" in {f.file for f in late} and "/" not in str(late)  # of ours, which the caller never saw
    assert {f.severity for f in [*late, *fine]} <= {"refused", "warning", "note"}
    same = cafx.check(dry, dry, RATE)
    assert not same.accepted and same[0].severity == "refused" and same[0].code == "identical"
    assert same[0].cure and str(same).startswith("refused: ")
    with pytest.raises(cafx.CafxError, match="none.wav"):
        cafx.check(tmp_path / "none.wav", tmp_path / "none.wav")


def test_a_sweep_is_a_table(pair, tmp_path):
    for name, x in zip(("dry", "wet"), pair):
        cafx.write(tmp_path / f"{name}.wav", x, RATE)
    spec = {"name": "rates", "axes": {"train.lr": [1e-3, 3e-3]},
            "data": {"reader": "files", "dry": str(tmp_path / "dry.wav"), "wet": str(tmp_path / "wet.wav")}}
    for key, value in TINY.items():
        table, name = key.split(".", 1)
        spec.setdefault(table, {})[name] = [8, 8] if name == "dnn" else value
    table = cafx.sweep(spec, store=tmp_path / "runs", device="cpu", progress=False)
    rows = table if isinstance(table, list) else table.to_dict("records")
    assert sorted(r["train.lr"] for r in rows) == [1e-3, 3e-3] and {r["state"] for r in rows} == {"done"}
    assert all(0 < r["validation_mae"] < 1 for r in rows)
    again = cafx.sweep(spec, store=tmp_path / "runs", device="cpu", progress=False)  # nothing is computed twice
    assert len(again) == 2
    with pytest.raises(cafx.CafxError, match="^sweep: .*train.lrr"):
        cafx.sweep({**spec, "axes": {"train.lrr": [1]}}, store=tmp_path / "runs", progress=False)
    with pytest.raises(cafx.CafxError, match="letters, digits"):
        cafx.sweep({**spec, "name": "a/b"})
    with pytest.raises(cafx.CafxError, match='needs "name"'):
        cafx.sweep({"axes": {}})


def test_a_spec_as_toml():
    tomllib = pytest.importorskip("tomllib")
    spec = {"name": 'a "b"', "axes": {"train.lr": {"log": [1e-4, 1e-2], "points": 3}, "data.effect+data.setting": [["EQ", 2]]},
            "train": {"epochs": 3, "saaf.v0": True}, "slurm": {"setup": ["module load cuda"]}}
    read = tomllib.loads(_sweep.toml(spec))
    assert read["name"] == 'a "b"' and read["slurm"] == spec["slurm"] and read["train"]["epochs"] == 3
    assert read["axes"]["data.effect+data.setting"] == [["EQ", 2]] and read["axes"]["train"]["lr"]["points"] == 3
    assert read["train"]["saaf"]["v0"] is True


def test_numbers_of_numpy_are_numbers_in_settings():
    tomllib = pytest.importorskip("tomllib")
    spec = {"axes": {"train.lr": np.array([0.25, 0.5]), "train.seed": [np.int64(3)]},
            "model": {"hop": np.int32(64), "saaf": {"lo": np.float64(-0.5), "deep": {"on": np.bool_(True)}}}}
    read = tomllib.loads(_sweep.toml(spec))
    assert read["axes"]["train"] == {"lr": [0.25, 0.5], "seed": [3]}
    assert read["model"] == {"hop": 64, "saaf": {"lo": -0.5, "deep": {"on": True}}}
    assert _program.settings({"train.lr": np.float32(0.5), "model.dnn": np.array([8, 4]), "log.events": np.bool_(True)}) == [
        "--set", "train.lr=0.5", "--set", "model.dnn=8,4", "--set", "log.events=true"]


def test_files_keep_their_samples(tmp_path):
    x = notes(0.5)
    cafx.write(tmp_path / "a.wav", x, 44100)
    y, rate = cafx.read(tmp_path / "a.wav")
    assert rate == 44100
    np.testing.assert_array_equal(x, y)
    cafx.write(tmp_path / "a.flac", x, 44100)
    np.testing.assert_allclose(cafx.read(tmp_path / "a.flac")[0], x, atol=2**-23)
    assert abs(len(cafx.read(tmp_path / "a.wav", 22050)[0]) - len(x) / 2) <= 1
    cafx.write(tmp_path / "loud.wav", 4 * x / x.max(), 44100)
    assert cafx.read(tmp_path / "loud.wav")[0].max() == 4
    for name, bad, words in [("loud.FLAC", 4 * x / x.max(), "peaks at 4 of full scale"), ("nan.wav", np.array([0, np.nan]), "is nan at 0.000 s"),
                             ("inf.flac", np.array([np.inf]), "is inf at 0.000 s")]:
        with pytest.raises(cafx.CafxError, match=f"{name}: .*{words}"):
            cafx.write(tmp_path / name, bad, 44100)
        assert not (tmp_path / name).exists()


def test_the_program_is_the_one_that_python_starts():
    code = "import sys; sys.argv = ['cafx', '--version']; from cafx._program import main; main()"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd="/")
    assert said.stdout == subprocess.run([_program.path(), "--version"], capture_output=True, text=True).stdout
    assert said.stdout.startswith("cafx ")


def test_without_a_program_it_says_so(monkeypatch):
    monkeypatch.setenv("CAFX_PROGRAM", "")
    monkeypatch.setattr(_program.shutil, "which", lambda _: None)
    monkeypatch.setattr(_program.Path, "exists", lambda _: False)
    with pytest.raises(cafx.CafxError, match="CAFX_PROGRAM"):
        _program.path()


def test_the_command_line_waits_for_no_numpy():
    code = "import sys; sys.path[:0] = %r; import cafx._program; assert 'numpy' not in sys.modules" % sys.path
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")
