"""What a plugin may offer.

A plugin is an importable module named by an entry point of group ``portbev``; it implements any of these hooks with
:data:`hookimpl`. Hooks return records, they do no work: nothing is probed, and no heavy library imported, until it is
asked for. They are called through pluggy's hook caller: ``tryfirst``, ``trylast`` and wrappers mean what pluggy says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from portbev.backend import Backend, Emulator
    from portbev.bench.models import BenchModel
    from portbev.bench.peers import Peer
    from portbev.convert.config import ConfigReader
    from portbev.data.kinds import DataSet
    from portbev.doctor import Checkup
    from portbev.evaluate.benchmark import Benchmark
    from portbev.export.interface import ModelForms, RequestForm
    from portbev.kernels import Kernel
    from portbev.models import ModelFamily

GROUP = "portbev"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def portbev_backends() -> list[Backend]:  # type: ignore[empty-body]
    """Device families that this plugin brings."""


@hookspec
def portbev_emulators() -> list[Emulator]:  # type: ignore[empty-body]
    """Emulated devices, by the name of the backend they stand in for (``--emulate``)."""


@hookspec
def portbev_kernels() -> list[Kernel]:  # type: ignore[empty-body]
    """Kernels for operators of :mod:`portbev.ops`."""


@hookspec
def portbev_models() -> list[ModelFamily]:  # type: ignore[empty-body]
    """Model families: the schema of their configuration and how to build them."""


@hookspec
def portbev_datasets() -> list[DataSet]:  # type: ignore[empty-body]
    """Data sets: kinds of ``data`` sections with their readers, ``portbev data`` commands, generated roots."""


@hookspec
def portbev_benchmarks() -> list[Benchmark]:  # type: ignore[empty-body]
    """Benchmarks: how detections are scored, what the figures are called, and how samples are drawn."""


@hookspec
def portbev_published() -> list[Path]:  # type: ignore[empty-body]
    """YAML files of figures that others published, for ``portbev parity report --published NAME`` (the file's stem)."""


@hookspec
def portbev_exports() -> list[ModelForms]:  # type: ignore[empty-body]
    """Model families as graphs of tensors: what ``portbev export`` writes."""


@hookspec
def portbev_requests() -> list[RequestForm]:  # type: ignore[empty-body]
    """How pictures and calibration from outside of a data set become batches of a kind of data."""


@hookspec
def portbev_bench_models() -> list[BenchModel]:  # type: ignore[empty-body]
    """What ``portbev bench`` measures of a model family: configurations, and batches without data on disk."""


@hookspec
def portbev_peers() -> list[Peer]:  # type: ignore[empty-body]
    """Other libraries' forms of operators, which ``portbev bench ops`` times beside ours."""


@hookspec
def portbev_checkups() -> list[Checkup]:  # type: ignore[empty-body]
    """What ``portbev doctor`` looks at and which messages it knows, on behalf of a device or a library. Must not import
    torch: a torch that cannot be imported is one of the conditions."""


@hookspec
def portbev_config_readers() -> list[ConfigReader]:  # type: ignore[empty-body]
    """How configurations of a family's original implementation become this project's: ``portbev convert config``."""
