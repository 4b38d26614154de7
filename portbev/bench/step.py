"""``portbev bench step``: one training and one inference step of a configuration, on batches of noise."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from portbev.backend import Backend
from portbev.bench import resources
from portbev.bench.document import Document, head
from portbev.bench.models import Part, batches_of, config_names, model_of
from portbev.bench.tables import step_table
from portbev.comm import Comm
from portbev.config import RunConfig, load_config
from portbev.errors import PortbevError
from portbev.models import Batch, DetectionModel, move_batch
from portbev.outputs import in_float32
from portbev.runtime import activate
from portbev.train.ema import Ema
from portbev.train.optim import build_optimizer, scaled_lr
from portbev.train.parts import Parts, samples_per_step
from portbev.train.splits import Splits
from portbev.train.step import OptimizerStep

Say = Callable[[str], None]
METHOD = (
    "median wall time of steps between two synchronisations, after two that warm up; the batch's way to the device "
    "included, loading it excluded. train: forward, losses, backward, clipping, optimizer, average. eval: forward and "
    "decoding"
)


@dataclass(frozen=True)
class Effort:
    """Steps that are timed, and the seconds after which no more than three are."""

    steps: int
    seconds: float


FULL, QUICK = Effort(20, 60.0), Effort(5, 10.0)


def run_steps(
    backend: Backend,
    configs: Sequence[str],
    overrides: Sequence[str],
    parts: Sequence[Part],
    folder: Path | None,
    say: Say,
    *,
    quick: bool,
) -> Document:
    """Measure; a configuration that does not fit is a row that says so, and an interruption keeps what was measured.

    Args:
        configs: names or files; empty: those that the plugins offer.
        folder: where JSON and table go; None: nowhere.

    Raises:
        PortbevError: a configuration that cannot be read, or whose family offers no batches.
    """
    names = list(configs) or config_names(quick=quick)
    loaded = [(name, load_config(name, overrides)) for name in names]
    document = Document("step", head(backend, quick=quick, method=METHOD), step_table, folder)
    try:
        for name, config in loaded:
            for part in parts:
                say(f"{name}: {part}")
                row = {"config": name, "part": part, **_row(backend, config, part, quick=quick)}
                document.add(row)
        document.end("finished")
    except KeyboardInterrupt:
        document.end("interrupted")
    return document


def _row(backend: Backend, config: RunConfig, part: Part, *, quick: bool) -> dict[str, Any]:
    """One row, or why there is none: what a device lacks memory for, others may have."""
    samples = samples_per_step(config, Comm()) if part == "train" else config.eval.batch_size
    try:
        return {"samples": samples, **measure(backend, config, part, quick=quick)}
    except PortbevError:
        raise
    except (RuntimeError, MemoryError) as error:
        return {"samples": samples, "failed": " ".join(str(error).split())[:200] or type(error).__name__}
    finally:
        gc.collect()
        if hasattr(backend.module, "empty_cache"):
            backend.module.empty_cache()


def measure(backend: Backend, config: RunConfig, part: Part, *, quick: bool) -> dict[str, Any]:
    """Median seconds, samples per second, peak memory, joules and the settings of one part of a configuration."""
    compute = config.compute
    activate(backend, precision=compute.precision, deterministic=compute.deterministic, kernels=compute.kernels)
    notes = backend.prepare_host(compute)
    batches = batches_of(config, part)
    model = model_of(config)
    prepare = model.preparation(training=part == "train")
    if prepare is not None:  # the loader's workers do it
        batches = [cast(Batch, {**batch, "prepared": prepare(batch)}) for batch in batches]
    notes += backend.prepare_model(model, compute)
    model.to(backend.device())
    step = _training(backend, config, model) if part == "train" else _inference(backend, config, model)
    effort = QUICK if quick else FULL
    for number in range(2):
        step(batches[min(number, len(batches) - 1)])
    backend.reset_peak_memory()
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < effort.steps and (len(times) < 3 or time.perf_counter() - started < effort.seconds):
        backend.synchronize()
        begun = time.perf_counter()
        step(batches[-1])
        backend.synchronize()
        times.append(time.perf_counter() - begun)
    median = sorted(times)[len(times) // 2]
    samples = samples_per_step(config, Comm()) if part == "train" else config.eval.batch_size
    return {
        "seconds": median,
        "samples_per_s": samples / median,
        "times": times,
        "peak_memory": backend.peak_memory(),
        "joules": None if quick else resources.energy(backend, lambda: step(batches[-1])),
        "compute": compute.model_dump(mode="json"),
        "notes": notes,
    }


def training_step(backend: Backend, config: RunConfig) -> Callable[[Batch], None]:
    """Takes an optimizer step of a model with new weights on a batch; the backend is activated."""
    return _training(backend, config, model_of(config).to(backend.device()))


def _training(backend: Backend, config: RunConfig, model: DetectionModel) -> Callable[[Batch], None]:
    """Takes a step as training does."""
    stepping = OptimizerStep(parts_without_data(backend, config, model), lambda: False)
    return lambda batch: void(stepping.take([batch] * config.train.accumulate, 0))


def parts_without_data(backend: Backend, config: RunConfig, model: DetectionModel) -> Parts:
    """What a training step works with; data, run directory and checkpoints, which a step does not use, are absent.

    Args:
        model: prepared and on the device.
    """
    absent = cast(Any, None)
    lr = scaled_lr(config.optimizer, samples_per_step(config, Comm()))
    scale = config.compute.loss_scale
    return Parts(
        config=config,
        backend=backend,
        comm=Comm(),
        device=backend.device(),
        data=Splits(absent, absent, steps_per_epoch=1, source=None),
        model=model,
        wrapped=model,
        optimizer=build_optimizer(config.optimizer, model.named_parameters(), lr),
        scaler=backend.grad_scaler(config.compute.amp, *([] if scale == "dynamic" else [float(scale)])),
        ema=Ema(model, config.train.ema, 0) if config.train.ema.enabled else None,
        lr=lr,
        writer=absent,
        checkpoints=absent,
    )


def _inference(backend: Backend, config: RunConfig, model: DetectionModel) -> Callable[[Batch], None]:
    model.eval()
    model.begin_stream()

    def step(batch: Batch) -> None:
        moved = move_batch(batch, backend.device())
        with torch.no_grad(), backend.autocast(config.compute.amp):
            outputs = model(moved)
        with torch.no_grad():
            model.decode(in_float32(outputs), moved)

    return step


def void(_: object) -> None:
    """Nothing, of anything."""
