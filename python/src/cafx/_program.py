"""The program `cafx` of this installation, started from Python."""
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Optional, Sequence, Tuple

from ._errors import CafxError


def path() -> str:
    """The program: $CAFX_PROGRAM, the one in this package, or the one on PATH."""
    chosen = os.environ.get("CAFX_PROGRAM")
    if chosen:
        return chosen
    own = Path(__file__).parent / "bin" / "cafx"
    if own.exists():
        return str(own)
    found = shutil.which("cafx")
    if not found:
        raise CafxError("the program cafx was not found; install the wheel again, or name it in the environment as CAFX_PROGRAM")
    return found


def sentence(text: str, code: int) -> str:
    """The line in which the program says what is wrong, of all that it wrote."""
    lines = [line[6:] for line in text.splitlines() if line.startswith("cafx: ")]
    if lines:
        return lines[-1]
    words = text.strip().splitlines()
    return words[-1] if words else f"cafx ended with code {code}" + (f" (signal {-code})" if code < 0 else "")


def call(words: Sequence[str]) -> str:
    """Runs it to its end; what it wrote to standard output. CafxError with its own sentence for another exit code than 0."""
    said, code, complaint = run(words)
    if code != 0:
        raise CafxError(sentence(complaint, code), code)
    return said


def run(words: Sequence[str]) -> Tuple[str, int, str]:
    """Standard output, exit code, standard error."""
    ran = subprocess.run([path(), *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, errors="replace")
    return ran.stdout, ran.returncode, ran.stderr


def plain(value):
    """NumPy's numbers and arrays as Python's own, whose text is a number's; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def pairs(values: Optional[dict], what: str):
    """The items of a dict, or of None; `what` says what is expected."""
    if values is not None and not hasattr(values, "items"):
        raise CafxError(f"{what}, found {type(values).__name__}")
    return (values or {}).items()


def settings(values: Optional[dict]) -> list:
    """{"train.epochs": 5} as --set words; True, lists and NumPy's numbers as cafx writes them."""
    words = []
    for key, value in pairs(values, "settings: expected a dict, such as {'train.epochs': 5}"):
        value = plain(value)
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, (list, tuple)):
            value = ",".join(map(str, value))
        words += ["--set", f"{key}={value}"]
    return words


def main() -> None:
    """`cafx` on PATH: becomes the program."""
    try:
        program = path()
    except CafxError as e:
        sys.exit(f"cafx: {e}")
    os.execv(program, ["cafx", *sys.argv[1:]])
