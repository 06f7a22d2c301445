"""cafx learns an audio effect from recordings of its input and its output.

    run = cafx.train("dry.wav", "wet.wav")        # or two NumPy arrays and rate=48000; Ctrl-C keeps the best
    run.metrics, run.plot(), run.audio()          # curves and sounds of a run
    model = run.model                             # or cafx.load("model.safetensors"), cafx.load("runs/pedal")
    y = model(x, 48000)                           # a whole signal, time-aligned, by the C++ engine
    stream = model.stream(48000); y = stream(block)   # blocks of any length at a constant delay
    model.knobs; model(x, 48000, knobs={"gain": 7})   # of a model that learned knobs; stream.set_knob("gain", 3)
    cafx.check("dry.wav", "wet.wav")              # what is wrong with recordings, before training
    cafx.sweep("sweep.toml")                      # many runs, one table
    net = model.torch()                           # the same weights as a trainable torch.nn.Module

Audio is float, full scale 1, one channel (n,); rates are in Hz. What goes wrong is a CafxError with one sentence that says what was
found, where, and how to mend it. The program `cafx` does the same on a command line, and more: `cafx --help`.
"""
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._check import Finding, Findings, check
    from ._errors import CafxError
    from ._audio import read, write
    from ._model import Knob, Model, Stream, load
    from ._run import Run, resume, train
    from ._sweep import sweep

_WHERE = {"train": "_run", "resume": "_run", "Run": "_run", "load": "_model", "Knob": "_model", "Model": "_model", "Stream": "_model",
          "check": "_check", "Finding": "_check", "Findings": "_check", "sweep": "_sweep", "read": "_audio", "write": "_audio",
          "CafxError": "_errors"}
__all__ = ["CafxError", "Finding", "Findings", "Knob", "Model", "Run", "Stream", "check", "load", "read", "resume", "sweep", "train", "write"]


def __getattr__(name):  # parts are loaded when they are used: `cafx` on the command line waits for no NumPy
    if name == "__version__":
        from . import _program  # the program's own: the distribution is cafx-audio or, with CUDA, cafx-audio-cuN
        return _program.call(["--version"]).split()[1]
    if name not in _WHERE:
        raise AttributeError(f"module 'cafx' has no attribute '{name}'")
    value = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__ + ["__version__"])
