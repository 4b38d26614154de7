"""nuScenes as a plugin: tables, samples, scoring, pictures, commands, and generated scenes in its format.

``tables`` reads the tables of a version and ``samples`` makes training and evaluation samples of them; ``metrics`` and
``benchmark`` score detections, ``views`` draws them, ``browse`` draws samples as training sees them, and ``synth``
generates scenes. ``nuimages`` converts the data set of single pictures. ``commands`` holds the commands of ``portbev
data``, ``check`` the one that examines a data root.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from portbev.hookspecs import hookimpl

if TYPE_CHECKING:
    from portbev.data import DataSet, Dataset, Part
    from portbev.data.fetching import Fetching
    from portbev.data.kinds import Group
    from portbev.evaluate.benchmark import Benchmark
    from portbev.export.interface import RequestForm
    from portbev.paths import DataPath
    from portbev.viz.seen import Browser


@hookimpl
def portbev_datasets() -> list[DataSet]:
    """nuScenes in two forms, key frames with sweeps and queues of frames; and nuImages, which is converted."""
    from portbev.data.kinds import DataKind, DataSet
    from portbev_nuscenes.config import NuscenesData, NuscenesQueueData
    from portbev_nuscenes.synth.root import SCHEME
    from portbev_nuscenes.tables.rows import looks_like

    kinds = (
        DataKind("nuscenes", NuscenesData, _open_sweeps, _browse_sweeps),
        DataKind("nuscenes_queue", NuscenesQueueData, _open_queue, _browse_queue),
    )
    return [
        DataSet("nuscenes", kinds, commands=_commands, generated=SCHEME, looks_like=looks_like, fetching=_fetching),
        DataSet("nuimages", (), commands=_nuimages_commands),
    ]


@hookimpl
def portbev_requests() -> list[RequestForm]:
    """Pictures and calibration from outside of a data set."""
    from portbev_nuscenes.requests import QueueRequests, SweepRequests

    return [SweepRequests(), QueueRequests()]


@hookimpl
def portbev_benchmarks() -> list[Benchmark]:
    """The nuScenes detection benchmark."""
    from portbev_nuscenes.benchmark import NuscenesBenchmark

    return [NuscenesBenchmark()]


def _fetching() -> Fetching:
    from portbev_nuscenes.fetching import NuscenesFetching

    return NuscenesFetching()


def _open_sweeps(section: Any, root: DataPath, part: Part, *, seed: int) -> Dataset:
    from portbev_nuscenes.samples.sweeps import SweepDataset

    return SweepDataset(section, root, part, seed=seed)


def _open_queue(section: Any, root: DataPath, part: Part, *, seed: int) -> Dataset:
    from portbev_nuscenes.samples.queue import QueueDataset

    return QueueDataset(section, root, part, seed=seed)


def _browse_sweeps(dataset: Any) -> Browser:
    from portbev_nuscenes.browse.sweeps import SweepBrowser

    return SweepBrowser(dataset)


def _browse_queue(dataset: Any) -> Browser:
    from portbev_nuscenes.browse.queue import QueueBrowser

    return QueueBrowser(dataset)


def _commands() -> Mapping[Group, Callable[..., None]]:
    from portbev_nuscenes import commands

    return {"synth": commands.synth, "check": commands.check}


def _nuimages_commands() -> Mapping[Group, Callable[..., None]]:
    from portbev_nuscenes.nuimages import commands

    return {"synth": commands.synth, "convert": commands.convert}
