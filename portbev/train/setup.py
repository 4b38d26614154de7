"""Everything that a training run needs before its first step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from portbev import comm as comms
from portbev.backend import Backend
from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.config.load import agreement
from portbev.data.generated.fitting import fit_generated
from portbev.lists import whole
from portbev.models import DetectionModel, build_model
from portbev.nn.dropout import prepare_dropout
from portbev.nn.image_backbone import FrozenRandomError
from portbev.nn.sync_batchnorm import convert_sync_batchnorm
from portbev.plugins import plugins
from portbev.runs import load_run
from portbev.runs.checkpoints import Checkpoints
from portbev.runs.layout import CHECKPOINTS, RUN
from portbev.runs.writer import RunWriter
from portbev.train.ema import Ema
from portbev.train.how import fused_update, transfers, unusual
from portbev.train.new_record import new_record
from portbev.train.optim import build_optimizer, scaled_lr
from portbev.train.parallel import wrapped
from portbev.train.parts import Parts
from portbev.train.resume import take_up
from portbev.train.shares import Shares, equal_shares, shares_of
from portbev.train.splits import open_splits
from portbev.train.start import load_start
from portbev.train.tensorboard import TensorBoard


def assemble(
    config: RunConfig,
    *,
    backend: Backend,
    comm: Comm,
    data_root: Path | str | None,
    out: Path,
    resume: bool,
    init: Path | None,
    init_partial: bool,
    command: list[str],
    notes: list[str],
    say: Callable[[str], None],
) -> Parts:
    """Open the data, build the model and the optimizer, and begin or continue the run directory ``out``.

    Args:
        notes: what the record notes of the preparation so far.
    """
    checkpoints = Checkpoints(out / CHECKPOINTS, config.train.checkpoint.keep)
    if resume and not (out / RUN).is_file():
        say(f"no run in {out} yet: starting one")
    elif resume and data_root is None and config.data.root is None:
        data_root = load_run(out).record.data.source
    if resume and init is None and (out / RUN).is_file():  # it may have been stopped before its first checkpoint
        recorded = load_run(out).record
        init, init_partial = (None if recorded.init is None else Path(recorded.init)), recorded.init_partial
    shares = shares_of(config, comm, load_run(out).record if resume and (out / RUN).is_file() else None)
    parts = build_parts(
        config,
        backend=backend,
        comm=comm,
        shares=shares,
        data_root=data_root,
        out=out,
        init=init,
        init_partial=init_partial,
        resumed=resume and bool(checkpoints.steps()),  # then the weights that it started from are not needed
        command=command,
        notes=notes,
        say=say,
    )
    if resume and (out / RUN).is_file():
        take_up(parts, say)
    if not parts.finished:
        _begin(parts, say)
    return parts


def build_parts(
    config: RunConfig,
    *,
    backend: Backend,
    comm: Comm,
    shares: Shares | None = None,
    data_root: Path | str | None,
    out: Path,
    init: Path | None,
    init_partial: bool = False,
    resumed: bool = False,
    command: list[str],
    notes: list[str],
    say: Callable[[str], None],
) -> Parts:
    """Open the data and build model and optimizer as for the first step. Nothing is written to ``out``.

    Args:
        shares: how a batch is shared out; None: ``train.batch_size`` samples for each process.
        resumed: the weights will come from a checkpoint, so that no file of initial weights is read.
        notes: what the record notes of the preparation so far.
    """
    # A file of weights that is not there is told before any data are generated.
    shares = shares or equal_shares(config.train.batch_size, comm)
    begins = shares == equal_shares(config.train.batch_size, comm)  # others are of a run that began with these data
    try:
        model, told = _build_model(config, comm, init=init, init_partial=init_partial, resumed=resumed)
    except FrozenRandomError as error:
        fit_generated(config, data_root, command, processes=comm.size, frozen=error)
        raise
    if begins:
        fit_generated(config, data_root, command, processes=comm.size)
    data = open_splits(config, data_root, comm, shares)
    notes = [*notes, *agreement(config)]
    device = backend.device(comms.local_rank(backend))
    fused, update = fused_update(config, device)
    prepared = [*backend.prepare_model(model, config.compute), *transfers(backend, config.compute), *update]
    for note in unusual([*told, *prepared]):
        say(f"note: {note}")
    model.to(device)
    record = new_record(
        config,
        backend=backend,
        comm=comm,
        data=data,
        shares=shares,
        model=model,
        init=init,
        init_partial=init_partial,
        command=command,
        notes=[whole(note) for note in (*notes, *told, *prepared)],
    )
    lr = scaled_lr(config.optimizer, record.samples_per_step)
    return Parts(
        config=config,
        backend=backend,
        comm=comm,
        device=device,
        data=data,
        model=model,
        wrapped=wrapped(model, config, comm),
        optimizer=build_optimizer(config.optimizer, model.named_parameters(), lr, fused=fused),
        scaler=_scaler(config, backend),
        ema=_average(config, model, len(data.train)),
        lr=lr,
        writer=RunWriter(out, record),
        checkpoints=Checkpoints(out / CHECKPOINTS, config.train.checkpoint.keep),
        given_shares=shares,
    )


def _build_model(
    config: RunConfig, comm: Comm, *, init: Path | None, init_partial: bool, resumed: bool
) -> tuple[DetectionModel, list[str]]:
    """The model on the CPU with weights that depend on the seed and the files of the configuration alone, or those of
    ``init``; and notes about it. A run that is ``resumed`` gets its weights from its checkpoint later.
    """
    family = plugins().models()[config.model.family]
    torch.manual_seed(config.train.seed)
    model = build_model(family, config.model)
    notes = [] if resumed else load_start(model, family, init, partial=init_partial)
    prepare_dropout(model, config.train.seed)
    if config.train.sync_batchnorm and comm.size > 1:
        notes.append(
            f"{convert_sync_batchnorm(model)} batch normalisations are synchronised over {comm.size} processes"
        )
    return model, notes


def _average(config: RunConfig, model: DetectionModel, samples: int) -> Ema | None:
    """The average of the weights, if there is to be one; ``samples`` of the training split place its start."""
    section = config.train.ema
    if not section.enabled:
        return None
    updates = samples * config.train.epochs if section.start_updates is None else section.start_updates
    return Ema(model, section, updates)


def _scaler(config: RunConfig, backend: Backend) -> torch.amp.GradScaler:
    amp, scale = config.compute.amp, config.compute.loss_scale
    return backend.grad_scaler(amp) if scale == "dynamic" else backend.grad_scaler(amp, scale)


def _begin(parts: Parts, say: Callable[[str], None]) -> None:
    """Make the output directory ready for the first step."""
    writer = parts.writer
    step = 0 if parts.checkpoint is None else parts.checkpoint.step
    writer.record.progress.total_steps = parts.total_steps

    def prepare() -> None:
        for name in parts.checkpoints.clean():
            note = f"removed what an interrupted checkpoint left behind: {name}"
            say(note)
            writer.warn(note)
        parts.checkpoints.drop_after(step)
        writer.write()

    parts.comm.on_main(prepare)
    if parts.config.train.tensorboard and parts.comm.is_main:
        parts.board = TensorBoard(writer.path / "tensorboard", step + 1)
    for note in unusual(writer.record.data.notes):
        say(f"note: {note}")
