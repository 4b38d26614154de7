"""Evaluation of what a run left: its checkpoints, on its data or other data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from portbev import comm as comms
from portbev.backend import Backend
from portbev.config import RunConfig, dump_config, load_config
from portbev.config.load import agreement
from portbev.data import build_dataset, open_root
from portbev.errors import ConfigError, PortbevError
from portbev.evaluate.benchmark import find_benchmark
from portbev.evaluate.inference import evaluate_model
from portbev.files import prepare_folder
from portbev.models import DetectionModel, ModelFamily
from portbev.plugins import plugins
from portbev.progress import Reporter
from portbev.runs import Run, load_run
from portbev.runs.weights import load_any
from portbev.runtime import activate, find_backend


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
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Evaluate a run's checkpoint again, on its own device or another, on its own split or another.

    Args:
        data_root, split, version: those of the run by default.
        out: folder for ``predictions.json`` and ``metrics.json``. By default the run's own where its last weights are
            scored as the run itself does, else one inside it that is named for what is different.
        checkpoint: ``latest``, ``best`` or a step.
        overrides: ``key=value`` items over the run's configuration.

    Returns:
        The content of ``metrics.json``.
    """
    run = run if isinstance(run, Run) else load_run(run)
    folder = _checkpoint_folder(run, checkpoint)
    config = with_data(_overridden(run.config, overrides), split=split, version=version)
    chosen = find_backend(backend, emulate=emulate) if isinstance(backend, str) else backend
    if out is None:
        out = _default_folder(run, config, chosen, checkpoint, changed=bool(overrides))
    if reporter is not None:
        reporter.say(f"writing to {out}")
    root = data_root or config.data.root or run.record.data.source
    return evaluate_checkpoint(folder, config, backend=chosen, data_root=root, out=out, reporter=reporter)


def evaluate_checkpoint(
    checkpoint: Path,
    config: RunConfig,
    *,
    backend: Backend | str = "auto",
    emulate: bool = False,
    data_root: Path | str | None = None,
    out: Path | None = None,
    trust_pickle: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint of ours or of an original implementation (see :func:`portbev.runs.weights.load_any`).

    Returns:
        The content of ``metrics.json``.
    """
    chosen = activate(
        backend,
        emulate=emulate,
        precision=config.compute.precision,
        deterministic=config.compute.deterministic,
        kernels=config.compute.kernels,
    )
    told = [*chosen.prepare_host(config.compute), *agreement(config)]
    family: ModelFamily = plugins().models()[config.model.family]
    dataset = build_dataset(config.data, open_root(data_root or config.data.root), "eval", seed=config.train.seed)
    dataset.check()
    told += find_benchmark(dataset.benchmark).check(dataset) if dataset.labelled else []
    model: DetectionModel = family.build(config.model)
    told += chosen.prepare_model(model, config.compute)
    weights, notes = load_any(checkpoint, model, family, use_ema=config.eval.use_ema, trust_pickle=trust_pickle)
    if reporter is not None:
        for note in [*told, *notes]:
            reporter.say(f"note: {note}")
    step = int(checkpoint.name.removeprefix("step_")) if checkpoint.name.startswith("step_") else 0
    with comms.join(chosen) as comm:
        model.to(chosen.device(comms.local_rank(chosen)))
        if out is not None:
            comm.on_main(lambda: prepare_folder(out))
        record = evaluate_model(
            model, dataset, config, backend=chosen, comm=comm, out=out, step=step, weights=weights, reporter=reporter
        )
    assert record is not None  # nothing asks it to stop
    return record


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


def _default_folder(run: Run, config: RunConfig, backend: Backend, checkpoint: str, *, changed: bool) -> Path:
    """The run's own folder, unless that would replace its results by those of something else."""
    own, new = run.config.data, config.data
    parts = []
    if backend.label != run.record.backend.label:
        parts.append(backend.name)
    old_data, new_data = ([getattr(data, "version", None), data.eval_split] for data in (own, new))
    if new_data != old_data:
        parts += [name for name in new_data if name]
    if checkpoint != "latest":
        parts.append(checkpoint)
    if changed:
        parts.append("changed")
    return run.path / "_".join(["eval", *parts]) if parts else run.path


def _overridden(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    return load_config(dump_config(config), overrides) if overrides else config


def _checkpoint_folder(run: Run, checkpoint: str) -> Path:
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
