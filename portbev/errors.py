"""Errors that a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PortbevError(Exception):
    """Wrong input or a missing condition, with a message of one line: what is wrong, where, and the cure.

    The command line prints it without a traceback and exits with status 2 (``--debug`` shows the traceback).

    Args:
        what: the problem, as a clause without a full stop.
        where: the file, key, token or index with the problem. Empty if ``what`` contains it.
        cure: what the user can do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        self.what, self.where, self.cure = what, where, cure
        super().__init__(what, where, cure)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments, so that they survive the way from another process."""
        return _rebuild, (type(self), self.what, self.where, self.cure)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line}. {self.cure}" if self.cure else line


def _rebuild(kind: type[PortbevError], what: str, where: str, cure: str) -> PortbevError:
    return kind(what, where=where, cure=cure)


class ConfigError(PortbevError):
    """A configuration that cannot be used: unknown key, wrong type, missing file."""


class DataError(PortbevError):
    """A data set that cannot be used: missing root, table or field, damaged image or point cloud."""


class BackendError(PortbevError):
    """A backend that does not exist or whose device is absent."""


class CheckpointError(PortbevError):
    """A checkpoint that is truncated, foreign or does not fit the model."""


class ExportError(PortbevError):
    """An export that cannot be made, read or run here."""


class DisagreementError(ExportError):
    """What was exported does not compute what the trained model computes; nothing was written."""

    exit_code = 1


class ResultsError(PortbevError):
    """Detection results that cannot be scored: missing or extra tokens, NaN, unknown class."""


def nearest(name: str, known: Iterable[str], *, label: str = "Known") -> str:
    """The cure for an unknown name: the nearest known name, and all known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"{hint}{label}: {', '.join(names) or 'none'}"
