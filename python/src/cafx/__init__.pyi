# The types of the module, for editors and checkers. tests/test_types.py holds names and arguments against the code.
import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

__version__: str
__all__: List[str]

_Path = Union[str, "os.PathLike[str]"]
_Audio = NDArray[np.float32]

class CafxError(Exception):
    exit_code: Optional[int]
    def __init__(self, sentence: str, exit_code: Optional[int] = ...) -> None: ...

class Finding:
    severity: str
    code: str
    file: str
    text: str
    cause: str
    cure: str
    seconds: Optional[float]
    def __init__(
        self, severity: str, code: str, file: str, text: str, cause: str, cure: str, seconds: Optional[float] = ...
    ) -> None: ...

class Findings(List[Finding]):
    accepted: bool
    pairs: int

def check(
    dry: Union[_Path, ArrayLike],
    wet: Union[_Path, ArrayLike, None] = ...,
    rate: Optional[int] = ...,
    settings: Optional[Mapping[str, Any]] = ...,
) -> Findings: ...
def train(
    dry: Union[_Path, ArrayLike],
    wet: Union[_Path, ArrayLike, None] = ...,
    rate: Optional[int] = ...,
    *,
    out: Optional[_Path] = ...,
    preset: Optional[str] = ...,
    settings: Optional[Mapping[str, Any]] = ...,
    config: Optional[_Path] = ...,
    device: str = ...,
    threads: int = ...,
    progress: bool = ...,
) -> Run: ...
def resume(run: Union[Run, _Path], device: str = ..., threads: int = ..., progress: bool = ...) -> Run: ...
def sweep(
    spec: Union[_Path, Mapping[str, Any]], store: Optional[_Path] = ..., device: Optional[str] = ..., progress: bool = ...
) -> Any: ...  # pandas.DataFrame, or List[Dict[str, Any]] without pandas
def load(path: _Path, threads: int = ...) -> Model: ...
def read(path: _Path, rate: Optional[int] = ...) -> Tuple[_Audio, int]: ...
def write(path: _Path, x: ArrayLike, rate: int) -> None: ...

class Run:
    folder: Path
    def __init__(self, folder: _Path) -> None: ...
    @property
    def finished(self) -> bool: ...
    @property
    def result(self) -> Dict[str, Any]: ...
    @property
    def test(self) -> Dict[str, Any]: ...
    @property
    def epochs(self) -> List[Dict[str, Any]]: ...
    @property
    def metrics(self) -> Any: ...  # pandas.DataFrame, or `epochs` without pandas
    @property
    def model(self) -> Model: ...
    def export(self, path: _Path) -> Path: ...
    def report(self, path: Optional[_Path] = ...) -> Path: ...
    def plot(self, axes: Any = ...) -> Any: ...  # matplotlib.axes.Axes
    def audio(
        self,
        dry: Union[_Path, ArrayLike, None] = ...,
        wet: Union[_Path, ArrayLike, None] = ...,
        rate: Optional[int] = ...,
        seconds: float = ...,
    ) -> Dict[str, Any]: ...  # of IPython.display.Audio
    def sounds(
        self,
        dry: Union[_Path, ArrayLike, None] = ...,
        wet: Union[_Path, ArrayLike, None] = ...,
        rate: Optional[int] = ...,
        seconds: float = ...,
    ) -> Tuple[Dict[str, _Audio], int]: ...

class Knob:
    name: str
    default: Union[float, str]
    range: Optional[Tuple[float, float]]
    unit: str
    positions: Tuple[str, ...]
    def __init__(
        self,
        name: str,
        default: Union[float, str],
        range: Optional[Tuple[float, float]] = ...,
        unit: str = ...,
        positions: Tuple[str, ...] = ...,
    ) -> None: ...

class Model:
    path: str
    type: str
    sample_rate: int
    frame: int
    hop: int
    parameters: int
    metadata: Dict[str, str]
    knobs: List[Knob]
    def __init__(self, path: _Path, threads: int = ...) -> None: ...
    def __call__(
        self, x: ArrayLike, rate: Optional[int] = ..., hop: int = ..., knobs: Optional[Mapping[str, Union[float, str]]] = ...
    ) -> _Audio: ...
    def stream(
        self,
        rate: Optional[int] = ...,
        hop: int = ...,
        block: int = ...,
        knobs: Optional[Mapping[str, Union[float, str]]] = ...,
    ) -> Stream: ...
    def torch(self) -> Any: ...  # torch.nn.Module
    def numpy(self) -> Any: ...

class Stream:
    rate: int
    latency: int
    def __call__(self, x: ArrayLike, out: Optional[_Audio] = ...) -> _Audio: ...
    def process(self, x: ArrayLike, out: Optional[_Audio] = ...) -> _Audio: ...
    def set_knob(self, name: str, value: Union[float, str]) -> None: ...
    def reset(self) -> None: ...
    def twin(self) -> Stream: ...
