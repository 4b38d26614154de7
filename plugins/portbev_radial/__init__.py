"""RADIal as a plugin: raw recordings, their conversion, samples, scoring, pictures, and generated recordings.

``recordings`` reads the raw recordings and ``converted`` EchoFusion's layout; ``dataset`` makes samples of either.
``metrics`` and ``benchmark`` score detections, ``views`` draws them, ``browse`` draws samples as training sees them,
and ``synth`` generates recordings. ``commands`` holds the commands of ``portbev data``, and ``check`` the one that
examines a data root.
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
    """RADIal, as raw recordings or in the converted layout."""
    from portbev.data.kinds import DataKind, DataSet
    from portbev_radial.config import RadialData
    from portbev_radial.recordings.layout import looks_like
    from portbev_radial.synth.root import SCHEME

    kinds = (DataKind("radial", RadialData, _open, _browse),)
    return [DataSet("radial", kinds, commands=_commands, generated=SCHEME, looks_like=looks_like, fetching=_fetching)]


@hookimpl
def portbev_requests() -> list[RequestForm]:
    """Pictures and calibration from outside of a data set."""
    from portbev_radial.requests import RadialRequests

    return [RadialRequests()]


@hookimpl
def portbev_benchmarks() -> list[Benchmark]:
    """The RADIal detection benchmark."""
    from portbev_radial.benchmark import RadialBenchmark

    return [RadialBenchmark()]


def _fetching() -> Fetching:
    from portbev_radial.fetching import RadialFetching

    return RadialFetching()


def _open(section: Any, root: DataPath, part: Part, *, seed: int) -> Dataset:
    from portbev_radial.dataset import RadialDataset

    return RadialDataset(section, root, part, seed=seed)


def _browse(dataset: Any) -> Browser:
    from portbev_radial.browse import RadialBrowser

    return RadialBrowser(dataset)


def _commands() -> Mapping[Group, Callable[..., None]]:
    from portbev_radial import commands

    return {"synth": commands.synth, "check": commands.check, "convert": commands.convert}
