"""Inference over a split, shared out over the processes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any

import torch

from portbev import comm as comms
from portbev.backend import Backend
from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.data import Dataset
from portbev.data.loader import Loader, build_loader
from portbev.data.root import lasting_root
from portbev.determinism import heard, listening
from portbev.errors import PortbevError
from portbev.evaluate.benchmark import Benchmark, find_benchmark
from portbev.evaluate.distance import Within, range_record
from portbev.files import write_json
from portbev.kernels import KERNELS
from portbev.models import Batch, DetectionModel, Detections, move_batch
from portbev.outputs import in_float32
from portbev.progress import Reporter
from portbev.runs.layout import METRICS, PREDICTIONS
from portbev.runs.metrics import METRICS_SCHEMA

Ticking = Callable[[int], AbstractContextManager[Callable[[], None]]]


@listening()
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
    source: Path | str | None = None,
    checkpoint: str | None = None,
    setup_notes: Sequence[str] = (),
    within: Within | None = None,
    reporter: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """Score ``model`` on ``dataset``; with ``out``, write ``predictions.json`` and ``metrics.json`` there.

    The samples are shared out over the processes; submission and metrics are those of one process. The predictions are
    written before they are scored, and stay where the scoring is refused.

    Args:
        step, weights, checkpoint: written into the metrics: which weights these are.
        source: written into the metrics: the data root as it was given.
        setup_notes: written into the metrics: notes on data, model and checkpoint from before the inference.
        within: score only what lies at these distances.
        stop: asked after every batch; True gives up.

    Returns:
        The content of ``metrics.json`` (``portbev.metrics/1``), in every process; None when stopped.
    """
    comm = comm or Comm()
    before = frozenset(KERNELS.ledger.torch)
    predicted = predict(model, dataset, config, backend=backend, comm=comm, reporter=reporter, stop=stop)
    if predicted is None:
        return None
    samples, inference = predicted

    def score() -> dict[str, Any]:
        benchmark = find_benchmark(dataset.benchmark)
        notes = [] if out is None else benchmark.write(samples, dataset, out / PREDICTIONS)
        try:
            record = benchmark.score(samples, dataset, within=within) if dataset.labelled else unscored(dataset)
        except PortbevError as error:
            raise error if out is None else _kept(error, out / PREDICTIONS) from error
        record.update(step=step, weights=weights, inference=inference)
        record |= {"setup_notes": list(setup_notes)} if setup_notes else {}
        record["within"] = None if within is None else range_record(within)
        if out is not None:
            record.update(identity(dataset, config, backend, source=source, checkpoint=checkpoint, within=within))
        notes = [*record["notes"], *notes, *own_classes(record, benchmark, model.classes), *heard(before)]
        record["notes"] = list(dict.fromkeys(notes))
        if out is not None:
            write_json(out / METRICS, record)
        return record

    record: dict[str, Any] = comm.on_main(score)
    return record


def identity(
    dataset: Dataset,
    config: RunConfig,
    backend: Backend,
    *,
    source: Path | str | None = None,
    checkpoint: str | None = None,
    within: Within | None = None,
) -> dict[str, Any]:
    """The entries of ``metrics.json`` that say which evaluation it is."""
    return {
        "benchmark": dataset.benchmark,
        "name": config.name,
        "backend": backend.label,
        "checkpoint": checkpoint,
        "within": None if within is None else range_record(within),
        "data": {
            "root": str(dataset.root.resolve()),
            "source": lasting_root(source or dataset.root),
            "version": dataset.version,
            "split": dataset.split,
            "section": config.data.model_dump(mode="json"),
            "digest": dataset.digest(),
        },
    }


def unscored(dataset: Dataset) -> dict[str, Any]:
    """The content of ``metrics.json`` for a split without annotations."""
    return {
        "schema": METRICS_SCHEMA,
        "benchmark": dataset.benchmark,
        "scored": False,
        "samples": len(dataset),
        "split": dataset.split,
        "version": dataset.version,
        "notes": [f"split {dataset.split} has no annotations: the predictions are written and not scored"],
    }


def own_classes(record: dict[str, Any], benchmark: Benchmark, classes: Sequence[str] | None) -> list[str]:
    """Add ``mean_ap_own_classes`` to the record of a model that finds fewer classes than the benchmark averages over.

    Args:
        classes: what the model finds; None: whatever the benchmark asks for.

    Returns:
        A note about it; none for other models.
    """
    if classes is None or record.get("scored") is False:
        return []
    figures = benchmark.class_figures(record)
    own = [name for name in figures if name in classes]
    if not own or len(own) == len(figures):
        return []
    values = [value for value in (figures[name] for name in own) if value is not None]
    record["mean_ap_own_classes"] = sum(values) / len(own) if len(values) == len(own) else None
    others = ", ".join(name for name in figures if name not in classes)
    return [f"the model does not find {others}: they count 0 in mAP; mAP over its own {len(own)} is beside it"]


def _kept(error: PortbevError, path: Path) -> PortbevError:
    """``error`` with the place of the predictions that were written before it."""
    cure = f"{error.cure}. " if error.cure else ""
    return type(error)(error.what, where=error.where, cure=f"{cure}The predictions are kept in {path}")


def predict(
    model: DetectionModel,
    dataset: Dataset,
    config: RunConfig,
    *,
    backend: Backend,
    comm: Comm | None = None,
    reporter: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
    """Detections of ``dataset`` in its order, encoded by its benchmark, and how fast they came.

    A data set with streams is visited stream by stream, each by one process and in order; the model is told before.

    Returns:
        The samples (the same in every process) and ``{"fps", "peak_memory", "batch_size", "method"}``; None when
        ``stop`` said so.

    Raises:
        ConfigError: ``eval.batch_size`` is not 1 for data with streams.
    """
    comm = comm or Comm()
    loader = build_loader(
        dataset,
        batch_size=config.eval.batch_size,
        workers=config.data.workers,
        seed=config.train.seed,
        epoch=0,
        part="eval",
        rank=comm.rank,
        world_size=comm.size,
        prepare=model.preparation(training=False),
        pin=backend.pins(config.compute),
    )
    share = _infer(model, loader, find_benchmark(dataset.benchmark), config, backend, reporter, stop)
    shares = comm.gather(share)
    if any(share["stopped"] for share in shares):
        return None
    placed = {index: sample for share in shares for index, sample in zip(share["order"], share["samples"], strict=True)}
    return [placed[index] for index in range(len(dataset.tokens))], _speed(shares, config.eval.batch_size)


def _infer(
    model: DetectionModel,
    loader: Loader,
    benchmark: Benchmark,
    config: RunConfig,
    backend: Backend,
    reporter: Reporter | None,
    stop: Callable[[], bool],
) -> dict[str, Any]:
    """This process's share of the detections, as JSON values, and what they took."""
    device = backend.device(comms.local_rank(backend))
    samples: list[dict[str, Any]] = []
    times: list[float] = []
    stopped = False
    backend.reset_peak_memory()
    with evaluating(model), _tick(reporter)(len(loader)) as tick, contextlib.closing(_closable(loader)) as batches:
        for batch in batches:
            backend.synchronize()
            started = time.perf_counter()
            detections = infer_batch(model, move_batch(batch, device), backend, config)
            backend.synchronize()
            times.append((time.perf_counter() - started) / len(batch["tokens"]))
            for index, boxes in enumerate(detections):
                samples.append(benchmark.encode(boxes, batch["tokens"][index], batch["frame2global"][index]))
            tick()
            if stop():
                stopped = True
                break
    order = [index for indices in loader.batches for index in indices]
    memory = backend.peak_memory()
    return {"samples": samples, "order": order, "times": times, "memory": memory, "stopped": stopped}


def _speed(shares: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """Speed and memory of the inference; ``size``: samples of a batch."""
    measured = [t for share in shares for t in (share["times"][1:] or share["times"])]  # the first batch warms up
    return {
        "fps": 1 / median(measured) if measured else None,
        "peak_memory": max(share["memory"] for share in shares),
        "batch_size": size,
        "method": f"one process, batch {size}: 1 / median seconds per sample of transfer to the device, forward pass "
        "and decoding; data loading and the first batch excluded",
    }


@torch.no_grad()
def infer_batch(model: DetectionModel, moved: Batch, backend: Backend, config: RunConfig) -> list[Detections]:
    """The detections in each sample of a batch that is on the device."""
    with backend.autocast(config.compute.amp):
        outputs = model(moved)
    return model.decode(in_float32(outputs), moved)


@contextlib.contextmanager
def evaluating(model: DetectionModel) -> Iterator[None]:
    """Inside, the model is in evaluation mode and remembers no earlier frames from outside."""
    before = model.training
    model.eval()
    model.begin_stream()
    try:
        yield
    finally:
        model.begin_stream()  # what it remembers would only take memory
        model.train(before)


def _tick(reporter: Reporter | None) -> Ticking:
    if reporter is not None:
        return reporter.evaluating
    return lambda batches: contextlib.nullcontext(lambda: None)


def _closable(batches: Any) -> Any:
    """A generator over ``batches``: closing it ends worker processes at once."""
    yield from batches
