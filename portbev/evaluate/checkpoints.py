"""Evaluation of what a run left: its checkpoints, on its data or other data."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from portbev import comm as comms
from portbev.backend import Backend
from portbev.config import RunConfig, dump_config, load_config
from portbev.config.load import agreement
from portbev.data import Dataset, build_dataset, open_root
from portbev.data.generated.fitting import fit_generated
from portbev.determinism import forecast
from portbev.errors import CheckpointError, ConfigError, DataError, PortbevError
from portbev.evaluate.benchmark import find_benchmark
from portbev.evaluate.distance import Within, checked_range
from portbev.evaluate.folders import claim_folder, folder_of_run
from portbev.evaluate.inference import evaluate_model, identity
from portbev.failures import in_one_line
from portbev.files import prepare_folder
from portbev.models import ModelFamily, build_model
from portbev.plugins import plugins
from portbev.progress import Reporter
from portbev.runs import Run, load_run
from portbev.runs.evaluated import root_again
from portbev.runs.lock import RunLock
from portbev.runs.weights import load_any
from portbev.runtime import activated, find_backend


def evaluate_run(
    run: Run | Path | str,
    *,
    backend: Backend | str = "auto",
    emulate: bool = False,
    data_root: Path | str | None = None,
    split: str | None = None,
    version: str | None = None,
    out: Path | None = None,
    checkpoint: str = "latest",
    overrides: Sequence[str] = (),
    within: Within | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Evaluate a run's checkpoint again, on its own device or another, on its own data or other data.

    Args:
        data_root, split, version: those that the run was made on by default.
        out: folder for ``predictions.json`` and ``metrics.json``. By default one inside the run that is named for what
            is different; the run's own where it is finished and has no results.
        checkpoint: ``latest``, ``best`` or a step.
        overrides: ``key=value`` items over the run's configuration.
        within: score only what lies at these distances.

    Returns:
        The content of ``metrics.json``.
    """
    run = run if isinstance(run, Run) else load_run(run)
    folder = checkpoint_of(run, checkpoint)
    own = run.config
    config = _overridden(own, overrides)
    changed = dump_config(config) != dump_config(own)
    config = with_data(config, split=split, version=version)
    chosen = find_backend(backend, emulate=emulate) if isinstance(backend, str) else backend
    asked_for = None if config.data.root == own.data.root else config.data.root

    def place(dataset: Dataset) -> Path:
        return folder_of_run(
            run, config, dataset, backend=chosen, checkpoint=checkpoint, within=within, changed=changed
        )

    while True:
        try:
            return evaluate_checkpoint(
                folder,
                config,
                backend=chosen,
                data_root=data_root or asked_for or root_again(run.record.data),
                out=out or place,
                within=within,
                reporter=reporter,
            )
        except CheckpointError:
            if checkpoint != "latest" or folder.exists():
                raise
            folder = checkpoint_of(run, checkpoint)  # the run is training and has removed an old one


def evaluate_checkpoint(
    checkpoint: Path,
    config: RunConfig,
    *,
    backend: Backend | str = "auto",
    emulate: bool = False,
    data_root: Path | str | None = None,
    out: Path | Callable[[Dataset], Path] | None = None,
    within: Within | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint of ours or of an original implementation (see :func:`portbev.runs.weights.load_any`).

    Args:
        out: folder for ``predictions.json`` and ``metrics.json``, or what names one for the opened data. None: nothing
            is written.
        within: score only what lies at these distances.

    Returns:
        The content of ``metrics.json``.

    Raises:
        PortbevError: data or checkpoint cannot be used, ``out`` holds something else, or there would be nothing to
            score and nowhere to write.
    """
    within = None if within is None else checked_range(within)
    chosen, told = activated(backend, config.compute, emulate=emulate)
    told = [*told, *forecast(config.compute.deterministic), *agreement(config)]
    family: ModelFamily = plugins().models()[config.model.family]
    source = data_root or config.data.root
    fit_generated(config, source, sys.argv, part="eval")
    dataset = build_dataset(config.data, open_root(source), "eval", seed=config.train.seed)
    dataset.check()
    told += _scorable(dataset, is_written=out is not None, within=within)
    model = build_model(family, config.model)
    told += chosen.prepare_model(model, config.compute)
    weights, notes = load_any(checkpoint, model, family, use_ema=config.eval.use_ema)
    told = list(dict.fromkeys([*told, *dataset.notes, *notes]))
    origin = str(checkpoint.resolve())
    with comms.join(chosen) as comm, in_one_line(), contextlib.ExitStack() as held:
        model.to(chosen.device(comms.local_rank(chosen)))
        folder = None
        if out is not None:
            named = identity(dataset, config, chosen, source=source, checkpoint=origin, within=within)
            folder = Path(comm.on_main(lambda: str(_prepared(out, dataset, named, held))))
        if reporter is not None:
            for line in [
                *([] if folder is None else [f"writing to {folder}"]),
                *(f"note: {note}" for note in told),
            ]:
                reporter.say(line)
        record = evaluate_model(
            model,
            dataset,
            config,
            backend=chosen,
            comm=comm,
            out=folder,
            step=_step_of(checkpoint),
            weights=weights,
            setup_notes=told,
            source=source,
            checkpoint=origin,
            within=within,
            reporter=reporter,
        )
    assert record is not None  # nothing asks it to stop
    return record


def _step_of(checkpoint: Path) -> int:
    """The step that a checkpoint's folder is named for; 0 for one that is named otherwise."""
    number = checkpoint.name.removeprefix("step_")
    return int(number) if checkpoint.name.startswith("step_") and number.isdecimal() else 0


def _scorable(dataset: Dataset, *, is_written: bool, within: Within | None) -> list[str]:
    """Notes of the benchmark on scoring against ``dataset``; raises what would make an evaluation of no use."""
    if dataset.labelled:
        return find_benchmark(dataset.benchmark).check(dataset)
    what = f"split {dataset.split!r} has no annotations, so there is nothing to score"
    if within is not None:
        raise DataError(f"{what} within any range", where=str(dataset.root), cure="Leave out --range")
    if not is_written:
        raise DataError(what, where=str(dataset.root), cure="Name a folder for the predictions: --out DIR")
    return []


def _prepared(
    out: Path | Callable[[Dataset], Path], dataset: Dataset, named: Mapping[str, Any], held: contextlib.ExitStack
) -> Path:
    """The folder to write to, which is there and writable, and locked until ``held`` is closed."""
    folder = out if isinstance(out, Path) else out(dataset)
    if isinstance(out, Path):
        claim_folder(out, named)
    else:
        prepare_folder(folder)
    held.enter_context(RunLock(folder))
    return folder


def with_data(config: RunConfig, *, split: str | None, version: str | None) -> RunConfig:
    """``config`` with another evaluation split or version.

    Raises:
        ConfigError: this kind of data has no versions.
    """
    changes = {"eval_split": split, "version": version}
    if version is not None and "version" not in type(config.data).model_fields:
        raise ConfigError(f"data of kind {config.data.kind!r} has no versions", where="--version")
    data = config.data.model_copy(update={key: value for key, value in changes.items() if value is not None})
    return config.model_copy(update={"data": data})


def _overridden(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    return load_config(dump_config(config), overrides) if overrides else config


def checkpoint_of(run: Run, checkpoint: str) -> Path:
    """The folder of a run's checkpoint: ``latest``, ``best`` or a step.

    Raises:
        PortbevError: there is none, or none of that name.
    """
    saved = run.checkpoints
    steps = saved.steps()
    if not steps:
        raise PortbevError("the run has no checkpoint yet", where=str(run.path))
    if checkpoint == "latest":
        return saved.path(steps[-1])
    if checkpoint == "best":
        best = saved.best()
        if best is None:
            what = "the run has no best checkpoint: it was not evaluated while it trained"
            raise PortbevError(
                what, where=str(run.path), cure="Use --checkpoint latest, or train with train.eval_every"
            )
        return saved.path(best.step)
    if not checkpoint.isdigit() or int(checkpoint) not in steps:
        known = ", ".join(map(str, steps))
        raise PortbevError(
            f"no checkpoint {checkpoint!r}", where=str(run.path), cure=f"latest, best, or a step: {known}"
        )
    return saved.path(int(checkpoint))
