import json
from dataclasses import dataclass
from typing import List, Optional

from . import _program
from ._errors import CafxError


@dataclass(frozen=True)
class Finding:
    """What is wrong with recordings.

    severity  "refused", "warning" or "note"         code   latency, polarity, clipping, mismatch, ... (`cafx data check --help`)
    file      the recording; of arrays dry or wet    text   what was found        cause, cure  why, and what to do
    seconds   where in the file; None: all of it
    """

    severity: str
    code: str
    file: str
    text: str
    cause: str
    cure: str
    seconds: Optional[float] = None

    def __str__(self):
        at = "" if self.seconds is None else f" at {self.seconds:.3f} s"
        return f"{self.severity}: {self.file}{at}: {self.text} ({self.cause}); {self.cure}"


class Findings(List[Finding]):
    """The findings, refusals first. accepted: whether training would take the recordings. pairs: how many there are."""

    accepted: bool = True
    pairs: int = 0

    def __str__(self):
        return "\n".join(map(str, self)) or "nothing found"


def check(dry, wet=None, rate: Optional[int] = None, settings: Optional[dict] = None) -> Findings:
    """What is wrong with recordings, before training on them: the checks that training runs.

    dry, wet  two files, two folders with equal names, a data set's folder (wet left out), or arrays (n,) with `rate` in Hz
    settings  of the data, such as {"data.setting": 2}
    CafxError: files that cannot be read at all.
    """
    from ._run import recordings
    with recordings(dry, wet, rate, keep=None) as (words, plainly):
        said, code, complaint = _program.run(["data", "check", *words, *_program.settings(settings), "--json"])
        if not said.strip():  # refused before anything could be found
            raise CafxError(_program.sentence(complaint, code), code)
    all_said = json.loads(said)
    known = set(Finding.__dataclass_fields__)
    found = Findings(Finding(**{k: plainly(v) if isinstance(v, str) else v for k, v in f.items() if k in known})
                     for f in all_said["findings"])
    found.pairs = all_said["pairs"]
    found.accepted = code == 0
    return found
