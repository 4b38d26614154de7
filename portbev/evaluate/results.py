"""Scoring of a file of results, whoever wrote it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portbev.data.root import lasting_root, open_root
from portbev.errors import PortbevError
from portbev.evaluate.benchmark import benchmark_of_file, find_benchmark
from portbev.evaluate.distance import Within, checked_range, range_record
from portbev.evaluate.folders import claim_folder
from portbev.evaluate.recognise import refuse_other_than_results
from portbev.files import write_json
from portbev.runs.layout import METRICS


def evaluate_results(
    results: Path,
    *,
    benchmark: str | None = None,
    data_root: str | None,
    split: str | None,
    version: str | None = None,
    within: Within | None = None,
    out: Path | None = None,
    reading: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Score a file of results, and write ``metrics.json`` into ``out`` if it is given.

    Args:
        benchmark: whose results they are; None: the one that knows the file.
        data_root, version, split: the data that the results are for.
        within: score only what lies at these distances.
        reading: how the file is to be read, where it does not say: arguments of the benchmark's ``score_file``.

    Returns:
        The content of ``metrics.json``.

    Raises:
        PortbevError: the file is no results, they cannot be scored, or data is missing.
    """
    refuse_other_than_results(results)
    within = None if within is None else checked_range(within)
    cure = "Say on what they were made: --data-root FOLDER --split NAME"
    if data_root is None:
        raise PortbevError("a file of results needs --data-root", where=str(results), cure=cure)
    if split is None:
        raise PortbevError("a file of results needs --split", where=str(results), cure=cure)
    judge = benchmark_of_file(results) if benchmark is None else find_benchmark(benchmark)
    root = open_root(data_root)
    origin = {"benchmark": judge.name, "results": str(results.resolve()), "checkpoint": None}
    named = {**origin, "within": None if within is None else range_record(within)}
    if out is not None:
        claim_folder(out, named)
    known = inspect.signature(judge.score_file).parameters
    if idle := [f"--{name}" for name in reading or () if name not in known]:
        raise PortbevError(f"{', '.join(idle)}: not for results of {judge.name}", where=str(results))
    how: dict[str, Any] = dict(reading or {})
    record = judge.score_file(results, data_root=data_root, version=version, split=split, within=within, **how)
    data = {"root": str(root.resolve()), "source": lasting_root(data_root)}
    record.update(named, data={**data, "version": record.get("version") or "", "split": split})
    if out is not None:
        write_json(out / METRICS, record)
    return record
