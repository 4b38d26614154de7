"""Inference over a split, the submission, and its score.

May import: data, metrics, comm, models, train (record, weights).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from portbev import comm as comms
from portbev.backend import Backend
from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.data import Dataset, build_dataset, build_loader, open_root
from portbev.data.nuscenes.submission import SubmissionBoxes, to_submission
from portbev.errors import PortbevError
from portbev.files import write_json
from portbev.metrics.nuscenes import DetectionMetrics, PredictionArrays, evaluate, load_ground_truth, write_predictions
from portbev.models import DetectionModel, ModelFamily, move_batch
from portbev.plugins import plugins
from portbev.runtime import activate, find_backend
from portbev.train.record import METRICS, METRICS_SCHEMA, PREDICTIONS, Run, finite, load_run
from portbev.train.weights import load_any

if TYPE_CHECKING:
    from portbev.train.progress import Reporter

Ticking = Callable[[int], AbstractContextManager[Callable[[], None]]]
_ARRAYS = ("translation", "size", "rotation", "velocity", "label", "score", "attribute")


def evaluate_model(
    model: DetectionModel,
    dataset: Dataset,
    config: RunConfig,
    *,
    backend: Backend,
    comm: Comm | None = None,
    out: Path | None = None,
    step: int = 0,
    weights: str = "model",
    reporter: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """Score ``model`` on ``dataset``; with ``out``, write ``predictions.json`` and ``metrics.json`` there.

    The samples are shared out over the processes; submission and metrics are those of one process.

    Args:
        step, weights: written into the metrics: which weights these are.
        stop: asked after every batch; True gives up.

    Returns:
        The content of ``metrics.json`` (``portbev.metrics/1``), in every process; None when stopped.
    """
    comm = comm or Comm()
    found = predict(model, dataset, config, backend=backend, comm=comm, reporter=reporter, stop=stop)
    if found is None:
        return None
    predictions, inference = found

    def score() -> dict[str, Any]:
        truth = load_ground_truth(dataset.root, dataset.version, dataset.split)
        if out is not None:
            write_predictions(out / PREDICTIONS, predictions)
        result = evaluate(predictions, truth.select(dataset.tokens))
        record = metrics_record(result, samples=len(dataset.tokens), split=dataset.split, version=dataset.version)
        record.update(step=step, weights=weights, inference=inference)
        if out is not None:
            write_json(out / METRICS, record)
        return record

    record: dict[str, Any] = comm.on_main(score)
    return record


def predict(
    model: DetectionModel,
    dataset: Dataset,
    config: RunConfig,
    *,
    backend: Backend,
    comm: Comm | None = None,
    reporter: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[PredictionArrays, dict[str, Any]] | None:
    """Detections of ``dataset`` as a submission in its order, and how fast they came.

    Returns:
        The predictions (the same in every process) and ``{"fps", "peak_memory", "batch_size", "method"}``; None when
        ``stop`` said so.
    """
    comm = comm or Comm()
    device = backend.device(comms.local_rank(backend))
    size = config.eval.batch_size
    loader = build_loader(
        dataset,
        batch_size=size,
        workers=config.data.workers,
        seed=config.train.seed,
        epoch=0,
        part="eval",
        rank=comm.rank,
        world_size=comm.size,
    )
    mine: list[dict[str, Any]] = []
    times: list[float] = []
    stopped = False
    backend.reset_peak_memory()
    with _evaluating(model), _tick(reporter)(len(loader)) as tick, contextlib.closing(_closable(loader)) as batches:
        for batch in batches:
            backend.synchronize()
            started = time.perf_counter()
            moved = move_batch(batch, device)
            with torch.no_grad(), backend.autocast(config.train.amp):
                outputs = model(moved)
            with torch.no_grad():
                detections = model.decode(outputs, moved)
            backend.synchronize()
            times.append((time.perf_counter() - started) / len(batch["tokens"]))
            for index, found in enumerate(detections):
                mine.append(_as_json(to_submission(found, batch["tokens"][index], batch["frame2global"][index])))
            tick()
            if stop():
                stopped = True
                break
    parts = comm.gather({"boxes": mine, "times": times, "memory": backend.peak_memory(), "stopped": stopped})
    if any(part["stopped"] for part in parts):
        return None
    every = [part["boxes"] for part in parts]
    ordered = [every[index % comm.size][index // comm.size] for index in range(len(dataset.tokens))]
    measured = [t for part in parts for t in (part["times"][1:] or part["times"])]  # the first batch warms up
    inference = {
        "fps": 1 / median(measured) if measured else None,
        "peak_memory": max(part["memory"] for part in parts),
        "batch_size": size,
        "method": f"one process, batch {size}: 1 / median seconds per sample of transfer to the device, forward pass "
        "and decoding; data loading and the first batch excluded",
    }
    return _merge(ordered, dataset.tokens), inference


def metrics_record(result: DetectionMetrics, *, samples: int, split: str, version: str) -> dict[str, Any]:
    """The content of ``metrics.json`` that comes from the metrics alone. NaN (not defined) becomes None."""
    summary = result.summary()
    keys = ("mean_ap", "nd_score", "tp_errors", "tp_scores", "label_aps", "mean_dist_aps", "label_tp_errors")
    record = {"schema": METRICS_SCHEMA, **{key: summary[key] for key in keys}}
    counts = {"ground_truth": dict(result.ground_truth_counts), "predictions": dict(result.prediction_counts)}
    record.update(samples=samples, split=split, version=version, boxes=counts, notes=list(result.notes))
    cleaned: dict[str, Any] = finite(record)
    return cleaned


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
    root = data_root or config.data.root or run.info["data"].get("source") or run.info["data"]["root"]
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
    """Evaluate a checkpoint of ours or of an original implementation (see :func:`portbev.train.weights.load_any`).

    Returns:
        The content of ``metrics.json``.
    """
    chosen = activate(
        backend,
        emulate=emulate,
        precision=config.train.precision,
        deterministic=config.train.deterministic,
        kernels=config.kernels,
    )
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    family: ModelFamily = plugins().models()[config.model.family]
    dataset = build_dataset(config.data, open_root(data_root or config.data.root), "eval", seed=config.train.seed)
    model = family.build(family.config.model_validate(config.family_options()))
    weights, notes = load_any(checkpoint, model, family, use_ema=config.eval.use_ema, trust_pickle=trust_pickle)
    if reporter is not None:
        for note in notes:
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


def evaluate_submission(results: Path, *, data_root: Path | str | None, version: str, split: str) -> DetectionMetrics:
    """Score anyone's nuScenes detection submission."""
    from portbev.metrics.nuscenes import evaluate_files

    return evaluate_files(results, open_root(data_root), version, split)


def with_data(config: RunConfig, *, split: str | None, version: str | None) -> RunConfig:
    """``config`` with another evaluation split or version."""
    changes = {"eval_split": split, "version": version}
    data = config.data.model_copy(update={key: value for key, value in changes.items() if value is not None})
    return config.model_copy(update={"data": data})


def prepare_folder(folder: Path) -> None:
    """Make ``folder`` and see that it takes files, before hours of work rely on it.

    Raises:
        PortbevError: it cannot be made or written.
    """
    from portbev.files import atomic_write

    probe = folder / ".writable"
    with atomic_write(probe) as temporary:
        temporary.write_bytes(b"portbev\n")
    probe.unlink(missing_ok=True)


def _default_folder(run: Run, config: RunConfig, backend: Backend, checkpoint: str, *, changed: bool) -> Path:
    """The run's own folder, unless that would replace its results by those of something else."""
    own, new = run.config.data, config.data
    parts = []
    if backend.label != run.info["backend"]["label"]:
        parts.append(backend.name)
    if (new.version, new.eval_split) != (own.version, own.eval_split):
        parts += [new.version, new.eval_split]
    if checkpoint != "latest":
        parts.append(checkpoint)
    if changed:
        parts.append("changed")
    return run.path / "_".join(["eval", *parts]) if parts else run.path


def _overridden(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    from portbev.config import dump_config, load_config

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
        return saved.path(best["step"])
    if not checkpoint.isdigit() or int(checkpoint) not in steps:
        known = ", ".join(map(str, steps))
        raise PortbevError(
            f"no checkpoint {checkpoint!r}", where=str(run.path), cure=f"latest, best, or a step: {known}"
        )
    return saved.path(int(checkpoint))


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


def _tick(reporter: Reporter | None) -> Ticking:
    if reporter is not None:
        return reporter.evaluating
    return lambda batches: contextlib.nullcontext(lambda: None)


def _closable(batches: Any) -> Any:
    """A generator over ``batches``: closing it ends worker processes at once."""
    yield from batches


def _as_json(boxes: SubmissionBoxes) -> dict[str, Any]:
    return {name: getattr(boxes, name).tolist() for name in _ARRAYS}


def _merge(samples: Sequence[dict[str, Any]], tokens: Sequence[str]) -> PredictionArrays:
    counts = [len(sample["score"]) for sample in samples]
    widths = {"translation": 3, "size": 3, "rotation": 4, "velocity": 2}
    columns: dict[str, Any] = {}
    for name in _ARRAYS:
        rows = [row for sample in samples for row in sample[name]]
        kind = np.int8 if name in ("label", "attribute") else np.float64
        columns[name] = np.array(rows, kind).reshape(-1, widths[name]) if name in widths else np.array(rows, kind)
    return PredictionArrays(tuple(tokens), np.repeat(np.arange(len(tokens)), counts), **columns)
