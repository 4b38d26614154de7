"""Generates the parts of a data set (scenes or sequences) in several processes.

The rows of a finished part are kept in a file, so that an interrupted call can continue after it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from portbev.data.pool import run_jobs
from portbev.data.progress import Progress, reporter
from portbev.files import parse_json, write_json


class Parts:
    """The parts of a data set during its generation, and the rows that each contributes to the data set's tables.

    Args:
        folder: folder of the data set.
        kind: plural noun for the parts, such as "scenes".
        names: names of all parts.
    """

    def __init__(self, folder: Path, kind: str, names: Sequence[str]) -> None:
        self.folder, self.kind, self.names = folder, kind, names
        self._done = folder / f".{kind}"

    def file(self, number: int) -> Path:
        """The file with the rows of a finished part."""
        return self._done / f"{self.names[number]}.json"

    def make(self, target: str, options: dict[str, Any], workers: int, progress: bool | Progress) -> None:
        """Generate the parts that are missing.

        Args:
            target: ``module:function``. The function takes ``{"folder", "options"}`` and returns a function from a
                part's number to its rows (see :func:`portbev.data.pool.run_jobs`).
            options: the data set's options as JSON values.
            workers: number of processes; 0: one for each CPU that this process may use.
            progress: see :func:`portbev.data.progress.reporter`.

        Raises:
            DataError: a part could not be generated.
        """
        self._done.mkdir(parents=True, exist_ok=True)
        total = len(self.names)
        missing = [number for number in range(total) if not self.file(number).exists()]
        with reporter(progress, f"Generating {self.kind}", total) as report:
            report(done := total - len(missing), total)
            common = {"folder": str(self.folder), "options": options}
            for index, rows in run_jobs(target, common, missing, workers=workers):
                write_json(self.file(missing[index]), rows, indent=None)
                report(done := done + 1, total)

    def rows(self, number: int) -> Any:
        """The rows of a finished part."""
        return parse_json(self.file(number).read_text(encoding="utf-8"))

    def forget(self) -> None:
        """Remove the files with rows, after their content is in the data set's tables."""
        shutil.rmtree(self._done)
