"""Where an evaluation is written: a folder of its own, so that nothing finished is ever replaced by something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portbev.errors import PortbevError
from portbev.files import prepare_folder
from portbev.runs.layout import METRICS, PREDICTIONS, RUN
from portbev.runs.reading import read_object

if TYPE_CHECKING:
    from portbev.backend import Backend
    from portbev.config import RunConfig
    from portbev.data import Dataset
    from portbev.evaluate.distance import Within
    from portbev.runs import Run

_RESULTS = (METRICS, PREDICTIONS)


def folder_of_run(
    run: Run,
    config: RunConfig,
    dataset: Dataset,
    *,
    backend: Backend,
    checkpoint: str,
    within: Within | None,
    changed: bool,
) -> Path:
    """A folder without results for an evaluation of ``run``.

    It is the run's own folder where a finished run has no results yet and is scored as it would have done itself.
    Otherwise it is a new one inside it, named for what is different (``again`` where nothing is).

    Args:
        config, dataset, backend: of the evaluation.
        checkpoint: ``latest``, ``best`` or a step.
        changed: whether other settings than the run's were asked for.
    """
    from portbev.data.root import same_root
    from portbev.evaluate.distance import range_name

    record, parts = run.record, []
    if backend.label != record.backend.label:
        parts.append(backend.name)
    if (dataset.version, dataset.split) != (record.data.version, record.data.eval_split):
        parts += [name for name in (dataset.version, dataset.split) if name]
    if not same_root(dataset.root, record.data.root):
        parts.append(f"on_{dataset.root.resolve().name or 'several'}")
    elif dataset.split == record.data.eval_split and dataset.digest() != record.data.eval_digest:
        parts.append("other_data")
    if checkpoint != "latest":
        parts.append(checkpoint)
    if within is not None:
        parts.append(range_name(within))
    if changed:
        parts.append("changed")
    if not parts and run.status == "finished" and not _has_results(run.path):
        return run.path
    name = "_".join(["eval", *(parts or ["again"])])
    return free_folder(run.path / re.sub(r"[^\w.\-]", "-", name))


def free_folder(folder: Path) -> Path:
    """``folder``, or the first of ``folder_2``, ``folder_3`` and so on that holds no results."""
    free, number = folder, 1
    while _has_results(free):
        number += 1
        free = folder.with_name(f"{folder.name}_{number}")
    return free


def claim_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Prepare a folder that a person named; an earlier writing of the same evaluation may be replaced.

    Args:
        identity: entries of ``metrics.json`` that say which evaluation it is.

    Raises:
        PortbevError: it cannot be written, is a run directory, or holds the results of another evaluation.
    """
    cure = "Choose another folder with --out"
    if (folder / RUN).is_file():
        raise PortbevError("is a run directory, whose results are its own", where=str(folder), cure=cure)
    if (folder / METRICS).is_file():
        there = read_object(folder / METRICS)
        differing = [key for key, value in identity.items() if there.get(key) != value]
        if differing:
            what = f"holds another evaluation (its {_listed(differing)} differ{'s' if len(differing) == 1 else ''})"
            raise PortbevError(what, where=str(folder), cure=cure)
    elif (folder / PREDICTIONS).exists():
        what = f"holds a {PREDICTIONS} without metrics, which this would replace"
        cure = f"Choose another folder with --out, or score that file: portbev eval {folder / PREDICTIONS}"
        raise PortbevError(what, where=str(folder), cure=cure)
    prepare_folder(folder)


def _has_results(folder: Path) -> bool:
    return any((folder / name).exists() for name in _RESULTS)


def _listed(keys: list[str]) -> str:
    return " and ".join([", ".join(keys[:-1]), keys[-1]] if len(keys) > 1 else keys)
