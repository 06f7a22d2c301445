"""experiments/field: its measures against their definitions, the numbers of epochs, marks, tables."""
import subprocess
import sys
import wave
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

HERE = Path(__file__).parents[2] / "experiments" / "field"
sys.path.insert(0, str(HERE))
import metrics  # noqa: E402
import page  # noqa: E402
import systems  # noqa: E402


def noise(n, seed):
    return np.random.default_rng(seed).standard_normal(n) * 0.1


def test_esr():
    y = noise(1000, 1)
    assert metrics.esr(y, 0.9 * y) == pytest.approx(0.01)
    assert metrics.esr(y, -y) == pytest.approx(4.0)


def test_mr_stft_does_not_hear_the_sign_and_hears_the_gain():
    y = noise(5000, 1)
    assert metrics.mr_stft(y, -y) == pytest.approx(0.0, abs=1e-12)
    assert metrics.mr_stft(y, 0.5 * y) == pytest.approx(0.5 + np.log(2), abs=1e-3)  # convergence .5, magnitudes halved


def test_mr_stft_is_auraloss_s():
    """As torch.stft with auraloss's defaults, where there is PyTorch."""
    torch = pytest.importorskip("torch")
    y, o = noise(9000, 1), noise(9000, 2)
    total = 0.0
    for n_fft, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        m = []
        for x in (y, o):
            s = torch.stft(torch.from_numpy(x), n_fft, hop, window, torch.hann_window(window, dtype=torch.float64), return_complex=True)
            m.append(torch.sqrt(torch.clamp(s.real ** 2 + s.imag ** 2, min=1e-8)))
        total += float(torch.norm(m[0] - m[1]) / torch.norm(m[0]) + (m[0].log() - m[1].log()).abs().mean())
    assert metrics.mr_stft(y, o) == pytest.approx(total / 3, rel=1e-9)


def test_pieces_are_measured_each_for_itself():
    y = np.concatenate([noise(4000, 1), 10 * noise(6000, 2)])
    o = y.copy()
    o[:4000] *= 0.5
    assert metrics.measured([4000, 6000], y, o)["esr"] == pytest.approx(0.125)
    with pytest.raises(ValueError, match="9999 samples of output, 10000 are needed"):
        metrics.measured([4000, 6000], y, o[:9999])


def test_files_are_read(tmp_path):
    x = np.array([0.5, -0.25, 0.0, 0.75])
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(44100)
        file.writeframes((32768 * x).astype("<i2").tobytes())
    y, rate = metrics.read(tmp_path / "a.wav")
    assert rate == 44100 and np.array_equal(x, y)


@pytest.mark.parametrize("seconds, expected", [(1e9, (15, 70, 15)), (600, (9, 45, 9)), (20, (0, 2, 0)), (1, (0, 1, 0))])
def test_epochs_fit_the_budget(seconds, expected):
    costs = {"defaults": {"pretrain_epochs": 15, "epochs": 70, "refine_epochs": 15}, "pretrain": 12.0, "train": 9.0}
    n = systems.epochs_for(costs, seconds)
    assert tuple(n.values()) == expected
    assert seconds < 9 or n["pretrain_epochs"] * 12 + (n["epochs"] + n["refine_epochs"]) * 9 <= seconds


def result(system, errors):
    point = lambda i, e: {"spent": 10.0 * (i + 1), "cpu": 10.0 * (i + 1), "wall": 20.0, "steps": 5 * i, "weights": "w%d" % i,
                          "quality": {k: {"esr": e, "mr_stft": 1.0} for k in ("notes", "phrases")}, "played": {"cpu": 1.0, "audio": 10.0}}
    return {"device": "ds1", "system": system, "points": [point(i, e) for i, e in enumerate(errors)]}


def test_tables_and_figure(tmp_path):
    found = [result("cafx-lstm", [0.5, 0.08, 0.009]), result("nam-nano", [0.9, 0.2, 0.1]), result("nablafx-s4-l", [])]
    rows = list(page.rows(found))
    assert [(r["to_.1"], r["to_.01"]) for r in rows] == [(20.0, 30.0), (30.0, None), (None, None)]
    text = page.tables(rows)
    assert "| ds1 | **cafx-lstm** | 10 | 0.009 | 0.009 | 1 | 20 | 30 |" in text
    assert "| ds1 | nam-nano | 10 | 0.1 | 0.1 | 1 | 30 | no |" in text
    assert "| nam-nano | - | 10.0 | 0.0 |" in text
    args = SimpleNamespace(out=str(tmp_path), devices=["ds1"], budget=30.0)
    page.write(args, found)
    svg = (tmp_path / "error.svg").read_text()
    assert svg.count("<path d=\"M") >= 3 and "nan " not in svg and 'nan"' not in svg and len(svg) < 20000
    assert len((tmp_path / "field.tsv").read_text().splitlines()) == 4


def test_plan_and_what_is_unknown(tmp_path):
    command = [sys.executable, HERE / "field.py", "--out", tmp_path, "--plan"]
    asked = ["--devices", "ds1,ts9", "--systems", "nam-a2,nam-a2-small,cafx-full", "--budget", "600"]
    done = subprocess.run(command + asked, stdout=subprocess.PIPE, text=True, check=True)
    assert "4 trainings of 600 s on 2 threads, 0.7 hours at most; 0 are done" in done.stdout  # both sizes of A2 are one training
    done = subprocess.run(command + ["--devices", "ds2"], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "--devices: 'ds2' is none of ds1" in done.stderr


def test_results_that_are_committed_are_whole():
    path = HERE / "results" / "field.tsv"
    if not path.exists():
        pytest.skip("no results are committed")
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert all(len(r) == len(rows[0]) for r in rows) and {r[1] for r in rows[1:]} <= set(systems.SYSTEMS)
