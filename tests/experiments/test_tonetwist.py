"""experiments/tonetwist on a made data set in its layout, with models of a second."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2] / "experiments" / "tonetwist"
sys.path.insert(0, str(HERE))
import tonetwist  # noqa: E402

CAFX = os.environ.get("CAFX_PROGRAM")
TINY = ["model.blocks=1", "model.channels=2", "model.state=1", "train.epochs=1", "train.segment_seconds=0.2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tonetwist")
    subprocess.run([sys.executable, HERE / "rehearse.py", folder, "--seconds", "7", "--test-seconds", "5"], check=True)
    return folder


def call(data, out, *more):
    command = [sys.executable, HERE / "tonetwist.py", data, "--cafx", CAFX or "cafx", "--out", out, "--models", "s4-s", "--device", "cpu",
               "--threads", "1"]
    for setting in TINY:
        command += ["--set", setting]
    return subprocess.run(command + list(more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_settings_become_conditions():
    assert tonetwist.knobs("V100_T050_MNormal") == ["V=1", "T=0.5", "M=Normal"]
    assert tonetwist.knobs("DSi_G090") == ["D=Si", "G=0.9"]


def test_published_table_is_whole():
    settings, values = tonetwist.published()
    assert len(settings) == 8 and set(values) == {"lstm-32", "lstm-96", "tcn-45-s", "gcn-250-l", "s4-s", "s4-l", "s4-tf-l"}
    for row in values.values():
        assert set(row) == set(settings)
        assert all(v == "inverted" or 0 < float(v) < 1 for v in row.values())
    # One row in full, against a slip between columns.
    assert values["s4-tf-l"]["1176LN-Limiter"] == ".0008" and values["s4-tf-l"]["HarleyBenton-FuzzyLogic"] == ".0258"


def test_devices_are_found_by_their_names(data):
    found = tonetwist.found_devices(data)
    assert sorted(found) == ["HarleyBenton-FuzzyLogic", "Ibanez-TS9"]
    folder, settings = found["HarleyBenton-FuzzyLogic"]
    assert Path(folder) == data / "ANALOG" and sorted(settings) == ["V100_F050", "V100_F100"]
    assert settings["V100_F050"] == pytest.approx(10.0)  # 7 s of music, 3 s with the impulses


def test_an_epoch_count_stands_for_15000_steps(data, tmp_path):
    args = type("Args", (), {"set": [], "out": str(tmp_path)})
    devices = {"Ibanez-TS9": (str(data), "V050_T050_D100", 4800.0), "Fuzz": (str(data), "V100", 480.0)}
    text = Path(tonetwist.sweep_file(args, "s4-l", devices)).read_text()
    # Nine tenths of 4800 s are 90 batches of 16 segments of 3 s.
    assert "block = 0\n" in text  # a step for each batch, not for each block of it
    assert '"data.path+data.select+train.epochs"' in text and '"D=1"], 166], [' in text and '["device=Fuzz", "V=1"], 1666]]' in text
    assert '[[0.5, 0.5], [1, 0.1], [5, 5], [10, 1]]' in text
    assert '["device=Ibanez-TS9", "V=0.5", "T=0.5", "D=1"]' in text


@pytest.mark.skipif(not CAFX, reason="CAFX_PROGRAM names no program")
def test_rehearsal(data, tmp_path):
    planned = call(data, tmp_path, "--plan")
    assert planned.returncode == 0 and "8 points are 8 training runs" in planned.stdout, planned.stderr
    assert not any(tmp_path.glob("runs/*/best.safetensors"))
    first = call(data, tmp_path, "--devices", "Ibanez-TS9")
    assert first.returncode == 0, first.stderr
    runs = sorted(tmp_path.glob("runs/s4-s-*/outcome.json"))
    assert len(runs) == 4
    row = next(line for line in first.stdout.splitlines() if line.startswith("| Ibanez-TS9 | s4-s | .0059 |"))
    tested = [json.loads((r.parent / "tonetwist.json").read_text())["test"]["esr"] for r in runs]
    assert "| %.4f |" % min(tested) in row
    assert (tmp_path / "table.md").read_text() in first.stdout
    # Called again it trains nothing anew.
    times = [r.stat().st_mtime_ns for r in runs]
    second = call(data, tmp_path, "--devices", "Ibanez-TS9")
    assert second.stdout == first.stdout and [r.stat().st_mtime_ns for r in runs] == times


@pytest.mark.parametrize("more, words", [(["--devices", "Klon"], "has no device Klon; it has HarleyBenton-FuzzyLogic, Ibanez-TS9"),
                                         (["--models", "lstm-3"], "'lstm-3' is none of")])
def test_what_is_not_there_is_told(data, tmp_path, more, words):
    done = call(data, tmp_path, "--plan", *more)
    assert done.returncode != 0 and words in done.stderr


def test_a_folder_of_something_else_is_told(tmp_path):
    done = call(tmp_path, tmp_path / "out", "--plan")
    assert done.returncode != 0 and "has no DEVICE/trainval/SETTING" in done.stderr and "Traceback" not in done.stderr
