"""Reads logs: run folders of this project, ``*.log.json`` of mmdet, ``vis_data/*.json`` of mmengine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from portbev.errors import PortbevError
from portbev.files import parse_json
from portbev.logs.series import Log
from portbev.runs.layout import RUN, SCALARS
from portbev.runs.run import load_run
from portbev.runs.scalars import read_scalars

_PLACES = ("mode", "epoch", "iter", "step")
"""Keys that say where a line stands, and are no scalars."""

CURE = "Name a run folder, a scalars.jsonl, an mmdet *.log.json or an mmengine vis_data/scalars.json"


def read_log(path: Path | str) -> Log:
    """Read a log, or the log of a folder (of mmengine's several the one with the most steps).

    Raises:
        PortbevError: there is none, or it is damaged.
    """
    path = Path(path)
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise PortbevError("there is no such log", where=str(path), cure=CURE)
    if path.name == SCALARS:
        return _run(path.parent) if (path.parent / RUN).is_file() else _rows(path, path.parent.name or path.name)
    return _lines_of(path, _name(path))


def _of_folder(folder: Path) -> Log:
    if (folder / RUN).is_file():
        return _run(folder)
    if (folder / SCALARS).is_file():
        return _rows(folder / SCALARS, folder.name)
    places = [*folder.glob("vis_data/*.json"), *folder.glob("*/vis_data/*.json"), *folder.glob("*.log.json")]
    found = [path for path in places if path.name != "config.json"]
    if not found:
        raise PortbevError("the folder has no log", where=str(folder), cure=CURE)
    logs = [_lines_of(path, folder.name) for path in sorted(found)]
    return max(logs, key=lambda log: len(log.train))


def _name(path: Path) -> str:
    """What tells this log from others: mmengine's files are called alike, so their folder."""
    if path.parent.name == "vis_data":
        return path.parents[2].name or path.parents[1].name
    return path.name.removesuffix(".json").removesuffix(".log")


def _run(folder: Path) -> Log:
    run = load_run(folder)
    log = _rows(folder / SCALARS, folder.name)
    rows = [{"iter": e.step, "epoch": float(e.epoch), **_figures(e.figures)} for e in run.record.evaluations]
    return replace(log, eval=_frame(rows))


def _figures(figures: Mapping[str, Any]) -> dict[str, float]:
    """By the names that people know."""
    known = {"mean_ap": "mAP", "nd_score": "NDS"}
    return {known.get(name, name): float(value) for name, value in figures.items() if isinstance(value, int | float)}


def _rows(path: Path, name: str) -> Log:
    steps = read_scalars(path)
    if not steps:
        raise PortbevError("there are no steps in it yet", where=str(path), cure="Wait for the first step, or train on")
    per_epoch = max((row.step for row in steps if row.epoch == steps[0].epoch), default=len(steps))
    rows = [
        {
            "iter": row.step,
            "epoch": row.step / per_epoch,
            "loss": row.losses.get("total"),
            **{f"loss.{term}": value for term, value in row.losses.items() if term != "total"},
            "lr": row.lr,
            "grad_norm": row.grad_norm,
            "time": row.step_time,
            "data_time": row.data_time,
        }
        for row in steps
    ]
    return Log(name, "portbev", _frame(rows), _frame([]), per_epoch)


def _lines_of(path: Path, name: str) -> Log:
    """mmdet's and mmengine's: a JSON object a line; mmdet's have a mode."""
    lines = list(_objects(path))
    if any("mode" in line for line in lines):
        return _mmdet(path, name, lines)
    if any("iter" in line or "step" in line for line in lines):
        return _mmengine(path, name, lines)
    raise PortbevError("no line of it is of a step", where=str(path), cure=CURE)


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    text = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            found = parse_json(line)
        except ValueError as error:
            if number == len(text) and number > 1:
                return  # what a kill cut off
            raise PortbevError(f"line {number} is not JSON", where=str(path), cure=CURE) from error
        if isinstance(found, dict):
            yield found


def _mmdet(path: Path, name: str, lines: list[dict[str, Any]]) -> Log:
    """Iterations begin anew each epoch; a later line of the same place is of a run that was resumed, and counts."""
    train = [line for line in lines if line.get("mode") == "train" and "iter" in line]
    val = [line for line in lines if line.get("mode") == "val"]
    if not train and not val:
        raise PortbevError("no line of it is of a step", where=str(path), cure=CURE)
    restarts = len({line["epoch"] for line in train}) > 1 and any(
        a["epoch"] < b["epoch"] and a["iter"] >= b["iter"] for a, b in pairwise(train)
    )
    per_epoch = max((int(line["iter"]) for line in train), default=1)
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for line in train:
        epoch, step = int(line["epoch"]), int(line["iter"])
        over_all = (epoch - 1) * per_epoch + step if restarts else step
        fraction = over_all / per_epoch if restarts else float(epoch)
        rows[epoch, step] = {"iter": over_all, "epoch": fraction, **_scalars(line)}
    tests = {}
    for line in val:
        epoch = int(line.get("epoch", 0))
        over_all = epoch * per_epoch if restarts else int(line.get("iter", epoch))
        tests[over_all] = {"iter": over_all, "epoch": float(epoch), **_scalars(line)}
    return Log(name, "mmdet", _frame(rows.values()), _frame(tests.values()), per_epoch if restarts else None)


def _mmengine(path: Path, name: str, lines: list[dict[str, Any]]) -> Log:
    """Training lines have ``iter``; of an evaluation's, ``step`` is the epoch where training goes by epochs."""
    rows: dict[int, dict[str, Any]] = {}
    tests: dict[int, dict[str, Any]] = {}
    ends: dict[int, int] = {}
    for line in lines:
        if "iter" in line:
            step, epoch = int(line.get("step", line["iter"])), int(line.get("epoch", 1))
            rows[step] = {"iter": step, "epoch": float(epoch), **_scalars(line)}
            ends[epoch] = max(ends.get(epoch, 0), step)
        elif "step" in line:
            at = int(line["step"])
            by_epoch = at in ends
            tests[at] = {"iter": ends[at] if by_epoch else at, "epoch": float(at), **_scalars(line)}
    per_epoch = ends.get(1) if len(ends) > 1 else None
    if per_epoch:
        for row in rows.values():
            row["epoch"] = row["iter"] / per_epoch
    return Log(name, "mmengine", _frame(rows.values()), _frame(tests.values()), per_epoch)


def _scalars(line: Mapping[str, Any]) -> dict[str, float]:
    values = {key: value for key, value in line.items() if key not in _PLACES and not isinstance(value, bool)}
    return {key: float(value) for key, value in values.items() if isinstance(value, int | float)}


def _frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """With ``iter`` and ``epoch`` also where there are no rows."""
    rows = list(rows)
    return pd.DataFrame(rows, columns=list(dict.fromkeys(["iter", "epoch", *(key for row in rows for key in row)])))
