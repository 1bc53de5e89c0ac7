"""Everything a user can cause, with what happened, where, and what to do next.

Each class carries a stable `code` (printed, and in `--json`) and the process exit code that the CLI
returns for it. Bugs are never wrapped: they keep their traceback.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class XstiltsError(Exception):
    """A failure with a known cause.

    Attributes:
        what: What happened, one sentence.
        where: File, line, key or module concerned; empty when there is none.
        hint: What to do next; empty when nothing can be suggested.
    """

    code = "XS-FAILED"
    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__("\n".join(part for part in (what, where, hint) if part))


class DataError(XstiltsError):
    """A data file lacks a field, holds an unknown label, is empty, or is not what it claims."""

    code = "XS-DATA"


class UsageError(XstiltsError):
    """An argument or an expression that cannot work, found before any work began."""

    code = "XS-USAGE"
    exit_code = 2


class AmbiguousError(UsageError):
    """A reference that several modules fit; a backbone may decide which of them is meant."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a config: `place` is the key path, `hint` may be empty."""

    place: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f" {self.hint}" if self.hint else "")


class ConfigError(UsageError):
    """All problems of one config at once."""

    code = "XS-CONFIG"

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        lines = [f"{source}: {count}", *(f"  {problem}" for problem in problems)]
        super().__init__("\n".join(lines))


class NotFoundError(XstiltsError):
    """A name that is in no registry, zoo, folder or hub."""

    code = "XS-NOT-FOUND"
    exit_code = 4

    @classmethod
    def named(cls, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> NotFoundError:
        """An error for an unknown `kind` called `name`, with the nearest of the `known` names."""
        return cls(f"no {kind} named '{name}'", hint=hint or near_names(name, known))


class IntegrityError(XstiltsError):
    """A file that is not the one that was recorded: truncated, changed, unsafe or incomplete."""

    code = "XS-INTEGRITY"
    exit_code = 5


class LaterVersionError(IntegrityError):
    """A file that a later version wrote: it is whole, but this version cannot read it."""

    code = "XS-LATER-VERSION"

    def __init__(self, what: str, *, where: str = "", hint: str = "Update xstilts.") -> None:
        super().__init__(what, where=where, hint=hint)


class BackboneMismatchError(IntegrityError):
    """A module that was trained on another backbone."""

    code = "XS-BASE-MISMATCH"


class NetworkError(XstiltsError):
    """A remote could not be reached, or refused."""

    code = "XS-NETWORK"
    exit_code = 6


class OfflineError(NetworkError):
    """Something has to be fetched, but the run is offline."""

    code = "XS-OFFLINE"


class TrainingError(XstiltsError):
    """A training that diverged: its loss, its gradient or its weights are no finite numbers."""

    code = "XS-TRAINING"


class FindingsError(XstiltsError):
    """Work finished, but some cells failed or a check found something."""

    code = "XS-FINDINGS"
    exit_code = 3


class DiskError(XstiltsError):
    """A file could not be written: the disk is full, read-only, not ours, or the path is taken."""

    code = "XS-DISK"

    @classmethod
    def of(cls, error: Exception) -> DiskError | None:
        """What a failed write means; None when it is no matter of the disk.

        safetensors reports the system's error as text.
        """
        number, where = 0, ""
        if isinstance(error, OSError):
            # of a copy the second name is the file that is written
            number, where = error.errno or 0, str(error.filename2 or error.filename or "")
        elif type(error).__name__ == "SafetensorError":
            found = re.search(r"\(os error (\d+)\)", str(error))
            number = int(found[1]) if found else 0
        if number not in _DISK:
            return None
        return cls(os.strerror(number).lower(), where=where, hint=_DISK[number])


_ROOM = "Make room and run the same command again: finished work is kept, nothing is half-written."
_ELSEWHERE = "Choose another place with --zoo and --results, or by XSTILTS_HOME and XSTILTS_CACHE."
_OTHER_PATH = "Name another path to write to: a file and a folder cannot be called the same."
_DISK = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.ENOTDIR: _OTHER_PATH,
    errno.EISDIR: _OTHER_PATH,
    errno.EEXIST: _OTHER_PATH,
}
"""What the system says of a disk that cannot be written, and what to do."""


class NotFiniteError(XstiltsError):
    """A model gave NaN or infinity, from which neither a label nor a score can come."""

    code = "XS-NOT-FINITE"


class PreemptedError(XstiltsError):
    """SIGTERM or a time limit: a checkpoint was written and the run can be resumed."""

    code = "XS-PREEMPTED"
    exit_code = 75


class InterruptedRunError(XstiltsError):
    """Ctrl-C: a checkpoint was written and the run can be resumed."""

    code = "XS-INTERRUPTED"
    exit_code = 130


def near_names(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """A sentence with the names closest to `name`, or the first of the known ones.

    Returns an empty text when nothing is known.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=limit, cutoff=0.5)
    if near:
        return "Did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
    if not names:
        return ""
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"Known: {shown}."
