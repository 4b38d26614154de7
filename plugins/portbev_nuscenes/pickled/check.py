"""A file of infos compared with the tables that it was made of, field by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev_nuscenes.checks.problem import Problem
from portbev_nuscenes.pickled.conventions import LAYOUTS, Layout
from portbev_nuscenes.pickled.differences import Differences, numbers_of
from portbev_nuscenes.pickled.expected import Tables
from portbev_nuscenes.pickled.fields import box_gap, compare_bevdepth, compare_new, compare_old, instances
from portbev_nuscenes.pickled.infos import FORMS, Infos, read_infos
from portbev_nuscenes.tables.splits import find_split, usable_splits


def check_infos(path: Path, root: DataPath, version: str) -> Iterator[Problem | str]:
    """Yield what a file of infos says otherwise than the tables of ``<root>/<version>``; at last a summary, as text.

    Sensor files are not opened. Paths are compared by their last parts: infos may be of another root.

    Raises:
        DataError: the file is no file of infos, or there are no such tables.
    """
    infos, tables = read_infos(path), Tables(root, version)
    said = infos.meta.get("version")
    if isinstance(said, str) and said != version:
        cure = f"Give --version {said}"
        yield Problem(str(path), f"is of version {said}, and compared with {version}", cure)
    tokens = [infos.token(entry) for entry in infos.entries]
    yield from _samples(path, tokens, tables)
    differences = Differences(str(path))
    layout = _layout(infos, tables)
    known = [
        (entry, token, tables.rows[token])
        for entry, token in zip(infos.entries, tokens, strict=True)
        if token in tables.rows
    ]
    for entry, token, sample in known:
        if infos.form == "bevdepth":
            compare_bevdepth(differences, entry, token, sample, tables)
        elif infos.form == "mmdet3d-0":
            compare_old(differences, entry, token, sample, tables, layout)
        else:
            compare_new(differences, infos, entry, token, sample, tables, layout)
    yield from differences.problems()
    boxes = f"; boxes in the layout {layout}" if layout and infos.form != "bevdepth" else ""
    yield f"{path}: {len(tokens)} infos ({FORMS[infos.form]}), {_split_of(tokens, tables)}{boxes}"


def _samples(path: Path, tokens: list[str], tables: Tables) -> Iterator[Problem]:
    """Samples that are unknown, or come twice."""
    strange = [token for token in tokens if token not in tables.rows]
    if strange:
        what = f"{len(strange)} of {len(tokens)} samples are not in the tables, the first is {strange[0]}"
        yield Problem(str(path), what, "Give the version that they were made of")
    doubled = [token for token, count in Counter(tokens).items() if count > 1]
    if doubled:
        yield Problem(str(path), f"{len(doubled)} samples come more than once, the first is {doubled[0]}")


def _split_of(tokens: list[str], tables: Tables) -> str:
    """Which split these are the samples of."""
    here = {tables.rows[token] for token in tokens if token in tables.rows}
    try:
        for split in usable_splits(tables.root, tables.version):
            scenes = find_split(split, tables.root, tables.version).scenes
            samples = set(tables.index.samples_of(scenes).tolist())
            if samples and here == samples:
                return f"the samples of split {split}"
            if samples and here < samples:
                return f"{len(here)} of the {len(samples)} samples of split {split}"
    except DataError:
        pass
    return "samples of several splits or of none"


def _layout(infos: Infos, tables: Tables) -> Layout | None:
    """The layout whose boxes are nearer to the tables', over all samples with as many boxes; None without boxes."""
    gaps: dict[Layout, float] = {"mmdet3d-0": 0.0, "mmdet3d-1": 0.0}
    seen = False
    for entry in infos.entries[:200]:
        sample = tables.rows.get(infos.token(entry))
        rows = numbers_of(entry.get("gt_boxes")) if infos.form == "mmdet3d-0" else instances(entry, "bbox_3d")
        if sample is None or rows is None or rows.ndim != 2 or not len(rows) or rows.shape[1] < 7:
            continue
        expected = tables.boxes(sample).lidar
        if len(expected) == len(rows):
            seen = True
            for layout in LAYOUTS:
                gaps[layout] += float(np.nan_to_num(np.abs(box_gap(rows, expected, layout))).sum())
    return sorted(gaps.items(), key=lambda one: one[1])[0][0] if seen else None
