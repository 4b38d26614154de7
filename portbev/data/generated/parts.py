"""Parts of a generated data set (scenes, sequences), made by several processes.

A part that is done leaves its rows in a file, so that a call that was interrupted goes on behind it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from portbev.data.pool import run_jobs
from portbev.data.progress import Progress, reporter
from portbev.files import write_json


class Parts:
    """Rows of the parts of the data set in ``folder``, while it grows.

    Args:
        folder: of the data set.
        kind: what a part is called, in the plural.
        names: of all parts.
    """

    def __init__(self, folder: Path, kind: str, names: Sequence[str]) -> None:
        self.folder, self.kind, self.names = folder, kind, names
        self._done = folder / f".{kind}"

    def file(self, number: int) -> Path:
        """Where a part that is done leaves its rows."""
        return self._done / f"{self.names[number]}.json"

    def make(self, target: str, options: dict[str, Any], workers: int, progress: bool | Progress) -> None:
        """Make what is missing.

        Args:
            target: ``module:function``, which takes ``{"folder", "options"}`` and returns what takes a part's number
                and returns its rows (see :func:`portbev.data.pool.run_jobs`).
            options: of the data set, as JSON holds them.
            workers: processes; 0 for one per CPU that this process may use.
            progress: see :func:`portbev.data.progress.reporter`.

        Raises:
            DataError: a part could not be made.
        """
        self._done.mkdir(parents=True, exist_ok=True)
        total = len(self.names)
        missing = [number for number in range(total) if not self.file(number).exists()]
        with reporter(progress, f"Generating {self.kind}", total) as report:
            report(done := total - len(missing), total)
            common = {"folder": str(self.folder), "options": options}
            for position, rows in run_jobs(target, common, missing, workers=workers):
                write_json(self.file(missing[position]), rows, indent=None)
                report(done := done + 1, total)

    def rows(self, number: int) -> Any:
        """What the maker of a part returned."""
        return json.loads(self.file(number).read_text(encoding="utf-8"))

    def forget(self) -> None:
        """Remove the rows, when all that they hold is in the data set's tables."""
        shutil.rmtree(self._done)
