"""A running program and its progress: tqdm where it is installed, in terminals and notebooks, else a line on standard error."""
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, List, Optional

from . import _program
from ._errors import CafxError


class _Line:
    """What is used of tqdm, without it."""

    def __init__(self, total=None, desc="", unit="", initial=0):
        self.total, self.desc, self.n, self.post, self.shown = total, desc, initial, "", -60.0

    def update(self, n):
        self.n += n
        self.refresh()

    def set_postfix_str(self, text, refresh=True):
        self.post = text

    def refresh(self):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{self.desc}: {self.n}/{self.total} {self.post}\033[K")
            sys.stderr.flush()
        elif time.monotonic() - self.shown > 30:
            self.shown = time.monotonic()
            sys.stderr.write(f"{self.desc}: {self.n}/{self.total} {self.post}\n")

    def close(self):
        if sys.stderr.isatty() and self.n:
            sys.stderr.write("\n")


class Display:
    """`with Display("train", progress) as display: display.follow(words, tick)`. done: where the bar begins."""

    def __init__(self, what: str, wanted: bool, done: int = 0):
        self.what, self.wanted, self.begun_at = what, wanted, done
        self.bar: Any = None
        self.interrupted = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()

    def show(self, done: int, total: Optional[int], words: str, unit: str = "epoch") -> None:
        """The bar stands at `done` of `total`, `words` behind it."""
        if not self.wanted:
            return
        if self.bar is None:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                tqdm = _Line
            self.bar = tqdm(total=total, desc=self.what, unit=unit, initial=self.begun_at)
        if total != self.bar.total:
            self.bar.total = total
        self.bar.set_postfix_str(words, refresh=False)
        if done != self.bar.n:
            self.bar.update(done - self.bar.n)

    def follow(self, words: List[str], tick: Callable[[], None], stopped_is_good: bool = False) -> str:
        """Runs the program to its end, calling tick twice a second; what it wrote to standard output.

        Ctrl-C (KeyboardInterrupt) is handed to it: it saves and ends. Then returns where stopped_is_good, with `interrupted` set,
        else raises KeyboardInterrupt; a second one ends it at once.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            # A group of its own: the terminal's Ctrl-C reaches it once, from here.
            # It saves and ends, too, where this process is killed, as a kernel is that is restarted.
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                                     env={**os.environ, "CAFX_PARENT": str(os.getpid())})
            try:
                self._wait(child, tick)
            except BaseException:
                child.kill()
                child.wait()
                raise
            out.seek(0)
            err.seek(0)
            said, complaint = out.read().decode(errors="replace"), err.read().decode(errors="replace")
        if self.interrupted:
            if stopped_is_good:
                return said
            raise KeyboardInterrupt
        if child.returncode != 0:
            raise CafxError(_program.sentence(complaint, child.returncode), child.returncode)
        return said

    def _wait(self, child, tick):
        while True:
            try:
                try:
                    child.wait(0.5)
                    tick()
                    return
                except subprocess.TimeoutExpired:
                    tick()
            except KeyboardInterrupt:
                if self.interrupted:
                    raise
                self.interrupted = True
                child.send_signal(signal.SIGINT)
