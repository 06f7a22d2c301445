import ctypes
import os
from typing import Optional, Tuple

import numpy as np

from . import _native
from ._errors import CafxError


def read(path, rate: Optional[int] = None) -> Tuple[np.ndarray, int]:
    """An audio file as (samples, rate): float32 (n,), the mean of its channels, full scale 1.

    path  any format that libsndfile knows (WAV, FLAC, AIFF, OGG, ...).    rate  Hz, 4000 to 768000; None keeps the file's.
    CafxError: no such file, empty, cut off, not audio, NaN or infinite samples (with the place in seconds).
    """
    rate = 0 if rate is None else _native.positive_rate(rate, f"{os.fsdecode(path)}, rate")
    n, found, data, why = ctypes.c_int64(), ctypes.c_int(), _native.FLOATS(), _native.Why()
    ok = _native.library().cafx_player_read(os.fsencode(path), rate, data, n, found, why.buffer, len(why.buffer))
    why.check(ok)
    try:
        return np.ctypeslib.as_array(data, (n.value,)).copy() if n.value else np.zeros(0, np.float32), found.value
    finally:
        _native.library().cafx_player_free(data)


def write(path, x, rate: int) -> None:
    """Writes x (n,) as a float WAV file, or as 24-bit FLAC where the name ends in .flac. rate in Hz.

    CafxError: another ending, a folder that is missing, integers, several channels, NaN or infinite samples; over full scale, which
    a FLAC cannot hold.
    """
    name = os.fsdecode(path)
    x, why = _native.mono(x, name), _native.Why()
    rate = _native.positive_rate(rate, name)
    bad = np.flatnonzero(~np.isfinite(x))
    if len(bad):
        raise CafxError(f"{name}: holds a sample that is {x[bad[0]]} at {bad[0] / rate:.3f} s")
    if name.lower().endswith(".flac") and len(x) and np.abs(x).max() > 1:
        raise CafxError(f"{name}: peaks at {np.abs(x).max():.3g} of full scale, and a FLAC holds no more than 1; write a .wav, or scale it")
    why.check(_native.library().cafx_player_write(os.fsencode(path), _native.floats(x), len(x), rate, why.buffer, len(why.buffer)))
