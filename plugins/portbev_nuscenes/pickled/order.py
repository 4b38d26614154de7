"""Which sample each element of a list of results belongs to: said by the element, by a file of infos, or by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from portbev.errors import ResultsError
from portbev.paths import DataPath
from portbev_nuscenes.pickled.infos import read_infos
from portbev_nuscenes.tables.index import Index
from portbev_nuscenes.tables.rows import LIDAR
from portbev_nuscenes.tables.splits import scene_names

_TOKENS = ("sample_token", "token", "sample_idx")
_FILES = ("lidar_path", "pts_filename", "filename")


def tokens_of(
    elements: Sequence[Mapping[str, Any]],
    index: Index,
    split: tuple[DataPath, str, str],
    infos: Path | None,
    where: str,
) -> tuple[list[str], list[str]]:
    """The token of each element's sample, and how it is known.

    Args:
        split: data root, version and split.
        infos: the file in whose order the elements are.

    Raises:
        ResultsError: another number of elements than samples, or samples of one time.
    """
    if infos is not None:
        return _by_infos(elements, infos, where)
    named = _named(elements, index)
    if named is not None:
        return named, []
    root, version, name = split
    samples = index.samples_of(scene_names(name, root, version))
    times = index.sample_time[samples]
    if len(samples) != len(elements):
        what = f"has {len(elements)} elements, and split {name!r} has {len(samples)} samples"
        cure = "Give the infos in whose order they are (--infos FILE), or the split that was tested"
        raise ResultsError(what, where=where, cure=cure)
    if len(np.unique(times)) != len(times):
        what = f"names no samples, and samples of split {name!r} have the same time"
        raise ResultsError(what, where=where, cure="Give the infos in whose order the results are: --infos FILE")
    ordered = samples[np.argsort(times, kind="stable")]
    note = "the elements name no samples: they are taken to be the split's by time, as mmdet3d orders them"
    return [index.token(sample) for sample in ordered], [note]


def _by_infos(elements: Sequence[Mapping[str, Any]], path: Path, where: str) -> tuple[list[str], list[str]]:
    infos = read_infos(path)
    if len(infos.entries) != len(elements):
        what = f"has {len(elements)} elements, and {path} has {len(infos.entries)} infos"
        raise ResultsError(what, where=where, cure="Give the infos that the test was run with")
    ordered = infos.by_time() if infos.form != "mmdet3d-1" else infos.entries
    numbers = [element.get("sample_idx") for element in elements]
    if infos.form == "mmdet3d-1" and all(isinstance(number, int) for number in numbers):
        known = {entry.get("sample_idx", place): entry for place, entry in enumerate(infos.entries)}
        if all(number in known for number in numbers):
            ordered = [known[number] for number in numbers]
    return [infos.token(entry) for entry in ordered], []


def _named(elements: Sequence[Mapping[str, Any]], index: Index) -> list[str] | None:
    """Tokens that the elements say, themselves or by the name of the lidar's file; None where one does not."""
    known = {token.decode() for token in index.sample_token.tolist()}
    files: dict[str, str] = {}
    if LIDAR.encode() in index.channels:
        frames = index.key_frames[:, index.channel(LIDAR)]
        names = [Path(file.decode()).name for file in index.frame_file.tolist()]
        files = {names[frame]: index.token(sample) for sample, frame in enumerate(frames.tolist()) if frame >= 0}
    tokens = []
    for element in elements:
        said = [str(element[key]) for key in _TOKENS if isinstance(element.get(key), str)]
        said += [files.get(Path(element[key]).name, "") for key in _FILES if isinstance(element.get(key), str)]
        token = next((one for one in said if one in known), None)
        if token is None:
            return None
        tokens.append(token)
    return tokens
