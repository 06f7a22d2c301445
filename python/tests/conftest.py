"""The module as it stands in the tree, over the program and the player that a build made: CAFX_PROGRAM and CAFX_PLAYER name them.
Of an installed wheel: neither is set, and the installed module is what is imported."""
import os
import sys
from pathlib import Path

import numpy as np
import pytest

if os.environ.get("CAFX_PROGRAM"):
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
import cafx  # noqa: E402

RATE = 16000
# A model and a training of a second.
TINY = {"model.frame": 256, "model.hop": 128, "model.filters": 8, "model.taps": 17, "model.local_taps": 9, "model.pool": 16, "model.latent": 16,
        "model.dnn": "8,8", "model.saaf.segments": 6, "train.hop": 128, "train.pretrain_epochs": 1, "train.epochs": 4,
        "train.refine_epochs": 0, "train.batch": 14}


def notes(seconds=4.0, seed=1):
    """Plucked notes, a new one every half second: (n,) float32 at RATE."""
    rng, t = np.random.default_rng(seed), np.arange(RATE // 2) / RATE
    one = [np.exp(-4 * t) * sum(np.sin(2 * np.pi * f * h * t) / h for h in (1, 2, 3)) for f in rng.uniform(80, 400, int(2 * seconds))]
    return np.float32(0.25 * np.concatenate(one) + 1e-4 * rng.standard_normal(len(one) * len(t)))


@pytest.fixture(scope="session")
def pair():
    dry = notes()
    return dry, np.tanh(4 * dry).astype(np.float32) * 0.5


@pytest.fixture(scope="session")
def run(pair, tmp_path_factory):
    return cafx.train(*pair, RATE, out=tmp_path_factory.mktemp("runs") / "pedal", settings=TINY, threads=1, progress=False)
