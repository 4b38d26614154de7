"""What a log holds, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from portbev.errors import PortbevError, nearest


@dataclass(frozen=True)
class Log:
    """One log.

    Attributes:
        name: for legends: the run's folder, or the file.
        source: ``portbev``, ``mmdet`` or ``mmengine``.
        train: a row per logged step, with ``iter`` (counted over all epochs) and ``epoch`` (with its fraction), and a
            column per scalar; ``time`` is a step's seconds.
        eval: a row per evaluation, with ``iter`` and ``epoch``, and a column per figure.
        per_epoch: steps of an epoch, where it is known.
    """

    name: str
    source: str
    train: pd.DataFrame
    eval: pd.DataFrame
    per_epoch: int | None = None

    def part(self, mode: str) -> pd.DataFrame:
        """``train`` or ``eval``."""
        return self.train if mode == "train" else self.eval

    def keys(self, mode: str) -> list[str]:
        """Scalars that can be drawn."""
        return [str(key) for key in self.part(mode).columns if key not in ("iter", "epoch")]

    def find(self, key: str, mode: str) -> str:
        """The column of ``key``: its name, or the only one that ends in ``/key`` or ``.key``.

        Raises:
            PortbevError: there is none, or more than one.
        """
        found = self._named(key, mode)
        if len(found) == 1:
            return found[0]
        if found:
            raise PortbevError(f"{key!r} is not one scalar", where=self.name, cure=f"One of {', '.join(found)}")
        other = "eval" if mode == "train" else "train"
        if self._named(key, other):
            raise PortbevError(f"{key!r} is no scalar of {mode}", where=self.name, cure=f"Add --mode {other}")
        what = f"there is no scalar {key!r} of {mode}"
        raise PortbevError(what, where=self.name, cure=nearest(key, self.keys(mode)))

    def _named(self, key: str, mode: str) -> list[str]:
        known = self.keys(mode)
        return [key] if key in known else [name for name in known if name.endswith((f"/{key}", f".{key}"))]
