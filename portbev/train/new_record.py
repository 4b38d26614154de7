"""The record of a run before its first step."""

from __future__ import annotations

from pathlib import Path

from portbev import __version__
from portbev import comm as comms
from portbev.backend import Backend
from portbev.comm import Comm
from portbev.config import Meaning, RunConfig, config_digest, dump_config, meanings
from portbev.config.section import absolute
from portbev.launcher import agent
from portbev.models import DetectionModel
from portbev.runs.record import BackendFacts, DataFacts, ModelFacts, RunRecord
from portbev.runs.writer import now
from portbev.train.shares import Shares
from portbev.train.splits import Splits


def new_record(
    config: RunConfig,
    *,
    backend: Backend,
    comm: Comm,
    data: Splits,
    shares: Shares,
    model: DetectionModel,
    init: Path | None,
    init_partial: bool,
    command: list[str],
    notes: list[str],
) -> RunRecord:
    """What is known before the first step."""
    return RunRecord(
        name=config.name,
        created=now(),
        portbev=__version__,
        command=command,
        config=dump_config(config),
        config_digest=config_digest(config),
        meanings={key: meaning for key, meaning in meanings(config).items() if meaning is not Meaning.WHAT},
        samples_per_step=shares.samples * config.train.accumulate,
        batch_parts=shares.parts,
        agents=sorted({one for one in comm.gather(agent()) if one is not None}),
        model=ModelFacts(family=config.model.family, parameters=sum(p.numel() for p in model.parameters())),
        init=None if init is None else absolute(str(init)),
        init_partial=init_partial,
        seed=config.train.seed,
        backend=_backend_facts(backend, comm),
        environment=backend.environment(),
        precision=config.compute.precision,
        amp=config.compute.amp,
        deterministic=config.compute.deterministic,
        data=_data_facts(data),
        notes=notes,
    )


def _backend_facts(backend: Backend, comm: Comm) -> BackendFacts:
    return BackendFacts(
        name=backend.name,
        label=backend.label,
        device_type=backend.device_type,
        emulated=backend.emulated,
        collective=backend.collective if comm.size > 1 else None,
        device_name=backend.device_name(comms.local_rank(backend)),
        world_size=comm.size,
    )


def _data_facts(data: Splits) -> DataFacts:
    train, evaluation = data.train, data.eval
    return DataFacts(
        root=str(train.root),
        source=str(data.source),
        version=train.version,
        benchmark=evaluation.benchmark,
        train_split=train.split,
        eval_split=evaluation.split,
        digest=train.digest(),
        eval_digest=evaluation.digest(),
        train_samples=len(train),
        eval_samples=len(evaluation),
        train=data.train_summary,
        evaluation=data.eval_summary,
        notes=list(dict.fromkeys([*train.notes, *evaluation.notes, *data.notes])),
    )
