"""libcafx_player.so of this package: the engine's players, called without Python's lock and without copies of audio."""
import ctypes
import os
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path

import numpy as np

from ._errors import CafxError

FLOATS = POINTER(c_float)


class StreamOptions(ctypes.Structure):  # cafx_rt_options of rt/include/cafx_rt.h
    _fields_ = [("size", c_uint32), ("hop", ctypes.c_int32), ("host_rate", c_double), ("block_length", ctypes.c_int32),
                ("reserved", ctypes.c_int32)]


def _open():
    chosen = os.environ.get("CAFX_PLAYER")
    place = Path(chosen) if chosen else Path(__file__).parent / "libcafx_player.so"
    try:
        library = ctypes.CDLL(str(place))
    except OSError as e:
        raise CafxError(f"{place}: the engine cannot be loaded: {e}; install the wheel again") from None
    kinds = {
        "cafx_player_open": (c_void_p, [c_char_p, c_int, c_char_p, c_size_t]),
        "cafx_player_close": (None, [c_void_p]),
        "cafx_player_about": (c_char_p, [c_void_p]),
        "cafx_player_knob": (c_int, [c_void_p, c_char_p, c_char_p, POINTER(c_int), POINTER(c_double), c_char_p, c_size_t]),
        "cafx_player_stream": (c_void_p, [c_void_p, POINTER(StreamOptions), POINTER(c_double), c_char_p, c_size_t]),
        "cafx_player_render": (c_int, [c_void_p, c_void_p, c_void_p, c_int64, c_double, c_int, POINTER(c_double), c_char_p, c_size_t]),
        "cafx_player_read": (c_int, [c_char_p, c_int, POINTER(FLOATS), POINTER(c_int64), POINTER(c_int), c_char_p, c_size_t]),
        "cafx_player_free": (None, [FLOATS]),
        "cafx_player_write": (c_int, [c_char_p, c_void_p, c_int64, c_int, c_char_p, c_size_t]),
        "cafx_rt_twin": (c_void_p, [c_void_p]),
        "cafx_rt_free": (None, [c_void_p]),
        "cafx_rt_process": (c_int, [c_void_p, c_void_p, c_void_p, c_size_t]),
        "cafx_rt_set_knob": (c_int, [c_void_p, ctypes.c_int32, c_double]),
        "cafx_rt_reset": (None, [c_void_p]),
        "cafx_rt_latency": (c_size_t, [c_void_p]),
    }
    for name, (result, arguments) in kinds.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_library = None


def library():
    global _library
    if _library is None:
        _library = _open()
    return _library


class Why:
    """Where the engine writes its sentence; `with Why() as why: ... why.check(ok)`."""

    def __init__(self):
        self.buffer = ctypes.create_string_buffer(4096)

    def check(self, ok):
        if not ok:
            raise CafxError(self.buffer.value.decode(errors="replace") or "the engine refused without a word")


def floats(x: np.ndarray) -> int:
    """Its samples, where they lie: their address."""
    return x.ctypes.data


def mono(x, what: str) -> np.ndarray:
    """x as (n,) float32, contiguous: itself where it is that already."""
    if isinstance(x, np.ndarray) and x.dtype == np.float32 and x.ndim == 1 and x.flags.c_contiguous:
        return x
    x = np.asarray(x)
    if x.dtype.kind not in "fiu":
        raise CafxError(f"{what}: expected samples as numbers, found an array of {x.dtype}")
    if x.dtype.kind in "iu":
        mend = f"divide by {np.iinfo(x.dtype).max + 1}" if x.dtype in (np.int16, np.int32) else "scale them to -1 to 1"
        raise CafxError(f"{what}: expected floats with full scale 1, found {x.dtype}; {mend}")
    if x.ndim != 1:
        raise CafxError(f"{what}: expected one channel, shape (n,), found shape {x.shape}")
    return np.ascontiguousarray(x, np.float32)


def whole(value, least: int, most: int, what: str) -> int:
    """value as an int, of whatever type the number is; `what` says what is expected."""
    try:
        number = int(value)
        fits = number == value and least <= number <= most
    except (TypeError, ValueError, OverflowError):  # no number, NaN, infinite
        fits = False
    if not fits:
        raise CafxError(f"{what}, found {repr(value) if isinstance(value, str) else value}")
    return number


def positive_rate(rate, what: str) -> int:
    return whole(rate, 4000, 768000, f"{what}: expected a rate in whole Hz from 4000 to 768000")


def samples(value, what: str) -> int:
    """A hop or a block; which of them fit a model, the engine says."""
    return whole(value, 0, 2**31 - 1, f"{what} in whole samples, 0 or more")
