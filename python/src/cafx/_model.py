import ctypes
import json
import os
import weakref
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import numpy as np

from . import _native, _program
from ._errors import CafxError


def load(path, threads: int = 0) -> "Model":
    """A trained model: a file that `cafx export` wrote, or the folder of a run.

    threads  of the CPU, for whole signals; 0: all
    CafxError: no such file, damaged, not trained, not cafx's.
    """
    return Model(path, threads)


@dataclass(frozen=True)
class Knob:
    """What a model learned to follow beside the audio.

    range      (least, most) of a continuous one, in `unit`; None of a switch
    positions  of a switch: their names; () of a continuous one          default  a number; of a switch, a position's name
    """

    name: str
    default: Union[float, str]
    range: Optional[Tuple[float, float]] = None
    unit: str = ""
    positions: Tuple[str, ...] = ()


class Model:
    """A trained model. Calls may come from several threads; they wait for each other, other Python code does not.

    sample_rate  Hz of the model          frame, hop  samples; 0 where the model works sample by sample
    parameters   how many                 metadata    what its file says: lineage, config, licence (dict of str)
    knobs        a list of Knob, empty where it learned none
    """

    def __init__(self, path, threads: int = 0):
        self.path = os.fsdecode(path)
        threads = _native.whole(threads, 0, 1024, "load(path, threads): expected 0 to 1024 threads")
        self._again = os.path.abspath(self.path), threads
        self._open(self.path, threads)
        _models.add(self)
        about = json.loads(_native.library().cafx_player_about(self._handle).decode())
        self.type: str = about["type"]
        self.sample_rate: int = about["sample_rate"]
        self.frame: int = about["frame"]
        self.hop: int = about["hop"]
        self.parameters: int = about["parameters"]
        self.metadata: dict = about["metadata"]
        self._starts = [k["start"] for k in about["knobs"]]
        self.knobs: List[Knob] = [_knob(k) for k in about["knobs"]]

    def _open(self, path: str, threads: int):
        why = _native.Why()
        self._handle = _native.library().cafx_player_open(os.fsencode(path), threads, why.buffer, len(why.buffer))
        why.check(self._handle)
        self._closer = weakref.finalize(self, _native.library().cafx_player_close, self._handle)

    def __reduce__(self):  # a copy, or one in another process (pickle, joblib), opens the file anew
        return Model, self._again

    def __repr__(self):
        return f"<cafx model '{self.type}' of {self.parameters:,} parameters at {self.sample_rate} Hz: {self.path}>"

    def _here(self):
        """The handle, in this process."""
        if self._handle is None:
            self._open(*self._again)
        return self._handle

    def _setting(self, name, value, what: str) -> Tuple[int, float]:
        """The index and value of a knob that is turned; the engine knows what a value can be."""
        index, number, why = ctypes.c_int(), ctypes.c_double(), _native.Why()
        why.check(_native.library().cafx_player_knob(self._here(), f"{name}={_program.plain(value)}".encode(), what.encode(), index, number,
                                                     why.buffer, len(why.buffer)))
        return index.value, number.value

    def _positions(self, knobs, what: str):
        """Of all knobs, for C: those of `knobs` turned, the others at their defaults."""
        values = list(self._starts)
        for name, value in _program.pairs(knobs, f"{what}: expected knobs as a dict, such as {{'gain': 5}}"):
            index, values[index] = self._setting(name, value, what)
        return (ctypes.c_double * len(values))(*values)

    def __call__(self, x, rate: Optional[int] = None, hop: int = 0, knobs: Optional[dict] = None) -> np.ndarray:
        """A whole signal: x (n,) -> y (n,) float32, output sample i belongs to input sample i, as `cafx render`.

        rate  Hz of x, resampled both ways where the model has another; None: the model's
        hop   samples between frames at the model's rate, 1 to half a frame; smaller is smoother and slower; 0: the model's own
        knobs {"gain": 5, "channel": "lead"}: where they stand; those that are not named at their defaults (model.knobs)
        Several channels: x (n, channels) -> (n, channels), each by itself.
        """
        x = np.asarray(x)
        hop = _native.samples(hop, "model(x, hop): expected a hop")
        if x.ndim == 2:
            if not 1 <= x.shape[1] <= _MOST_CHANNELS:
                raise CafxError(f"model(x): expected shape (n,) or (n, channels), found {x.shape}, which would be {x.shape[1]} channels; "
                                "where the channels come first: model(x.T)")
            return np.stack([self(x[:, c], rate, hop, knobs) for c in range(x.shape[1])], axis=1)
        positions = self._positions(knobs, "model(x, knobs)")
        x, why = _native.mono(x, "model(x)"), _native.Why()
        rate = self.sample_rate if rate is None else _native.positive_rate(rate, "model(x, rate)")
        y = np.empty_like(x)
        why.check(_native.library().cafx_player_render(self._here(), _native.floats(x), _native.floats(y), len(x), rate, hop, positions,
                                                       why.buffer, len(why.buffer)))
        return y

    def stream(self, rate: Optional[int] = None, hop: int = 0, block: int = 0, knobs: Optional[dict] = None) -> "Stream":
        """This model as a real-time effect, from silence. A NaN in a block may stay in what follows, until stream.reset().

        rate   Hz of the blocks; None: the model's      hop    as in model(x)
        block  every block is a multiple of so many samples, which lowers the latency; 0: blocks of any length
        knobs  where they stand at first, as in model(x); stream.set_knob turns them
        """
        return Stream(self, self.sample_rate if rate is None else _native.positive_rate(rate, "stream(rate)"),
                      _native.samples(hop, "stream(hop): expected a hop"), _native.samples(block, "stream(block): expected a block"), knobs)

    def torch(self):
        """The same weights as a torch.nn.Module, trainable, on any device; state_dict() has the file's names. It takes frames
        (B, frame), of crafx with their context; of a model that plays sample by sample, signals (B, n). Knobs stand at
        their defaults. cafx.loader, one file to copy anywhere, has more.

        CafxError: PyTorch is not installed.
        """
        from . import loader
        weights = self.numpy()
        try:
            return loader.torch_module(weights)
        except ModuleNotFoundError:
            raise CafxError("model.torch() needs PyTorch, which is not installed: pip install torch") from None

    def numpy(self):
        """The weights as NumPy arrays and the forward pass in NumPy, as cafx.loader.load(path) gives them; its turn(gain=5) turns
        knobs, cafx.loader.render plays a whole signal through it."""
        from . import loader
        path = self.path
        if os.path.isdir(path):
            path = os.path.join(path, "best.safetensors")
        try:
            model = loader.load(path)
            model.layers()
        except ValueError as e:
            raise CafxError(str(e)) from None
        return model


def _knob(about: dict) -> Knob:
    positions = tuple(about["positions"])
    if positions:
        return Knob(about["name"], positions[int(about["start"])], None, "", positions)
    return Knob(about["name"], about["start"], tuple(about["range"]), about["unit"])


_models: "weakref.WeakSet[Model]" = weakref.WeakSet()


def _after_fork():
    """The engine's threads are not in the child (multiprocessing): there a model opens its file anew when it is called."""
    for model in list(_models):
        model._closer.detach()
        model._handle = None


os.register_at_fork(after_in_child=_after_fork)

_MOST_CHANNELS = 64  # of an array; more are samples that stand where channels are expected


class Stream:
    """Blocks in, as many samples out, at a constant delay; memory is taken when it is made. For one thread at a time.

    latency  samples at `rate`: output sample i + latency belongs to input sample i; the first `latency` samples are 0
    """

    def __init__(self, model: Model, rate: int, hop: int, block: int, knobs=None, _twin_of=None):
        lib, why = _native.library(), _native.Why()
        self.rate, self._model = rate, model
        if _twin_of is not None:
            self._handle = lib.cafx_rt_twin(_twin_of._handle)
            why.buffer.value = b"no memory for another stream"
        else:
            options = _native.StreamOptions(ctypes.sizeof(_native.StreamOptions), hop, float(rate), block, 0)
            positions = model._positions(knobs, "stream(knobs)")
            self._handle = lib.cafx_player_stream(model._here(), options, positions, why.buffer, len(why.buffer))
        why.check(self._handle)
        self._closer = weakref.finalize(self, lib.cafx_rt_free, self._handle)
        self.latency: int = lib.cafx_rt_latency(self._handle)

    def __call__(self, x, out: Optional[np.ndarray] = None) -> np.ndarray:
        """x (n,) float -> y (n,) float32. With `out` (n,) float32, which may be x itself, nothing is allocated."""
        x = _native.mono(x, "stream(x)")
        if out is None:
            out = np.empty_like(x)
        elif not isinstance(out, np.ndarray):
            raise CafxError(f"stream(x, out): expected out as an array of float32, found {type(out).__name__}")
        elif out.dtype != np.float32 or out.shape != x.shape or not out.flags.c_contiguous or not out.flags.writeable:
            raise CafxError(f"stream(x, out): expected out as float32 of shape {x.shape}, writeable and contiguous, found "
                            f"{out.dtype} of shape {out.shape}")
        if _native.library().cafx_rt_process(self._handle, _native.floats(x), _native.floats(out), len(x)) != 0:
            raise CafxError(f"stream(x): {len(x)} samples are no multiple of the block that the stream was made for")
        return out

    process = __call__

    def __reduce__(self):
        raise TypeError("a stream cannot be copied or pickled; stream.twin() makes another one, model.stream() one in another process")

    def set_knob(self, name: str, value) -> None:
        """Turns a knob: a number in its range, or a position's name. It gets there within 20 ms, without a click; of a model of
        frames with the next ones. CafxError: there is no such knob, or the value is out of its range."""
        index, number = self._model._setting(name, value, "stream.set_knob")
        _native.library().cafx_rt_set_knob(self._handle, index, number)

    def reset(self) -> None:
        """As if nothing had come yet; knobs stay where they are."""
        _native.library().cafx_rt_reset(self._handle)

    def twin(self) -> "Stream":
        """Another one at its beginning that shares the weights, for a second channel; its knobs stand where these do."""
        return Stream(self._model, self.rate, 0, 0, _twin_of=self)
