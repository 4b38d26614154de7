"""Everything a training run needs before its first step."""

from __future__ import annotations

import gc
import json
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from portbev import __version__
from portbev import comm as comms
from portbev.backend import Backend
from portbev.comm import Comm
from portbev.config import RunConfig, config_digest, dump_config
from portbev.data import Dataset, build_dataset, build_loader, open_root
from portbev.errors import CheckpointError, PortbevError
from portbev.evaluate.benchmark import Benchmark, find_benchmark, find_metric
from portbev.files import prepare_folder
from portbev.models import DetectionModel
from portbev.nn.dropout import prepare_dropout
from portbev.nn.sync_batchnorm import convert_sync_batchnorm
from portbev.plugins import plugins
from portbev.runs.checkpoint import Checkpoint, Checkpoints
from portbev.runs.record import RUN, RUN_SCHEMA, SCALARS, Recorder, load_run, now, read_scalars
from portbev.runs.weights import load_any
from portbev.train.ema import Ema
from portbev.train.optim import build_optimizer, scaled_lr
from portbev.train.scalars import TensorBoard

# what may differ between a run and its continuation: none of it changes a weight
HARMLESS = (
    "name",
    "data.root",
    "data.workers",
    "data.eval_stride",
    "eval",
    "train.checkpoint",
    "train.eval_every",
    "train.log_every",
    "train.max_steps",
    "train.tensorboard",
)


@dataclass
class Parts:
    """What :class:`portbev.train.loop.Trainer` works with.

    ``model`` is the model itself, ``wrapped`` what is called in training (DDP with several processes); ``lr`` the
    highest learning rate; ``checkpoint`` where to continue, if anywhere; ``finished``: nothing is left to do.
    """

    config: RunConfig
    backend: Backend
    comm: Comm
    device: torch.device
    model: DetectionModel
    wrapped: Any
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: Ema | None
    train_data: Dataset
    eval_data: Dataset
    steps_per_epoch: int
    lr: float
    recorder: Recorder
    checkpoints: Checkpoints
    checkpoint: Checkpoint | None
    board: TensorBoard | None

    @property
    def benchmark(self) -> Benchmark:
        """Who scores the evaluations."""
        return find_benchmark(self.eval_data.benchmark)

    @property
    def schedule_steps(self) -> int:
        """Steps of the whole schedule, whether or not ``max_steps`` ends it early."""
        return self.config.train.epochs * self.steps_per_epoch

    @property
    def total_steps(self) -> int:
        return min(self.schedule_steps, self.config.train.max_steps or self.schedule_steps)

    @property
    def samples_per_step(self) -> int:
        """Samples of an optimizer step over all processes."""
        return self.config.train.batch_size * self.config.train.accumulate * self.comm.size

    @property
    def finished(self) -> bool:
        return self.recorder.info["status"] == "finished"

    def close(self) -> None:
        """Close the files, and let go of DDP.

        DDP must not outlive the process group: as its last owner, it would wait for the group's threads while it keeps
        Python locked, which they may need to end (torch 2.13).
        """
        if self.comm.size > 1:
            self.wrapped = self.model
            gc.collect()
        if self.board is not None:
            self.board.close()
        self.recorder.close()


def assemble(
    config: RunConfig,
    *,
    backend: Backend,
    comm: Comm,
    data_root: Path | str | None,
    out: Path,
    resume: bool,
    init: Path | None,
    trust_pickle: bool,
    command: list[str],
    say: Callable[[str], None],
) -> Parts:
    """Open the data, build the model and the optimizer, and begin or continue the run directory ``out``."""
    comm.on_main(lambda: _check_out(out, resume))
    source = data_root or config.data.root
    train_data, eval_data = _open_data(config, source, comm)
    _check_evaluation(config, eval_data)
    steps = _steps_per_epoch(config, train_data, comm)
    device = backend.device(comms.local_rank(backend))
    model, notes = _build_model(config, init, trust_pickle, comm)
    notes += backend.prepare_model(model, config.compute)
    model.to(device)
    lr = scaled_lr(config.optimizer, config.train.batch_size * config.train.accumulate * comm.size)
    ema = None
    if config.train.ema.enabled:
        start = config.train.ema.start_updates
        ema = Ema(model, config.train.ema, len(train_data) * config.train.epochs if start is None else start)
    info = _new_info(config, backend, comm, model, command, notes)
    info["data"] = _data_info(config, source, train_data, eval_data)
    recorder = Recorder(out, info)
    checkpoints = Checkpoints(out / "checkpoints", config.train.checkpoint.keep)
    parts = Parts(
        config=config,
        backend=backend,
        comm=comm,
        device=device,
        model=model,
        wrapped=_wrapped(model, config, comm),
        optimizer=build_optimizer(config.optimizer, model.named_parameters(), lr),
        scaler=_scaler(config, backend),
        ema=ema,
        train_data=train_data,
        eval_data=eval_data,
        steps_per_epoch=steps,
        lr=lr,
        recorder=recorder,
        checkpoints=checkpoints,
        checkpoint=None,
        board=None,
    )
    if resume and (out / RUN).is_file():
        _continue(parts, say)
    if not parts.finished:
        _begin(parts, say)
    return parts


def _scaler(config: RunConfig, backend: Backend) -> torch.amp.GradScaler:
    amp, scale = config.compute.amp, config.compute.loss_scale
    return backend.grad_scaler(amp) if scale == "dynamic" else backend.grad_scaler(amp, scale)


def _wrapped(model: DetectionModel, config: RunConfig, comm: Comm) -> nn.Module:
    """What training calls: the model, in DDP with several processes. DDP leaves parameters without gradient out."""
    if comm.size == 1:
        return model
    return nn.parallel.DistributedDataParallel(model, find_unused_parameters=config.train.find_unused_parameters)


def resume_command(command: list[str]) -> str:
    """What to type to continue the run that ``command`` began."""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    start = ["portbev"] if processes == "1" else ["torchrun", "--nproc-per-node", processes, "-m", "portbev"]
    words = [*start, *command[1:]]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])


def config_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Keys (``train.seed``) whose values differ between two resolved configurations, but for the harmless ones."""
    first, second = _flat(json.loads(json.dumps(old))), _flat(json.loads(json.dumps(new)))
    keys = sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))
    return [key for key in keys if not any(key == name or key.startswith(f"{name}.") for name in HARMLESS)]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat.update(_flat(inner, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def _check_out(out: Path, resume: bool) -> None:
    if not resume and ((out / RUN).exists() or (out / "checkpoints").exists()) and not _is_stillborn(out):
        cure = "Continue it with --resume, or choose another output with --out"
        raise PortbevError("holds a run already", where=str(out), cure=cure)
    prepare_folder(out)


def _is_stillborn(out: Path) -> bool:
    """Whether the run in ``out`` failed before its first step, so that nothing is lost by starting again."""
    if (out / "checkpoints").exists() or not (out / RUN).is_file() or read_scalars(out / SCALARS):
        return False
    return load_run(out).status == "failed"


def _open_data(config: RunConfig, source: Path | str | None, comm: Comm) -> tuple[Dataset, Dataset]:
    """Both splits; the first process goes first, because it may generate the data or write the index."""
    opened: list[Dataset] = []

    def load() -> None:
        root = open_root(source)
        opened.append(build_dataset(config.data, root, "train", seed=config.train.seed))
        opened.append(build_dataset(config.data, root, "eval", seed=config.train.seed))

    comm.on_main(load)
    if not opened:
        load()
    return opened[0], opened[1]


def _check_evaluation(config: RunConfig, data: Dataset) -> None:
    """Find what would stop the evaluation before hours of training."""
    find_metric(find_benchmark(data.benchmark), config.train.checkpoint.best)
    build_loader(data, batch_size=config.eval.batch_size, workers=0, seed=0, epoch=0, part="eval")


def _steps_per_epoch(config: RunConfig, data: Dataset, comm: Comm) -> int:
    loader = build_loader(
        data,
        batch_size=config.train.batch_size,
        workers=0,
        seed=config.train.seed,
        epoch=0,
        part="train",
        rank=comm.rank,
        world_size=comm.size,
    )
    steps = len(loader) // config.train.accumulate
    if steps == 0:
        what = f"{len(data)} training samples are fewer than one optimizer step takes"
        raise PortbevError(what, where="train.accumulate", cure="Lower train.accumulate or train.batch_size")
    return steps


def _build_model(
    config: RunConfig, init: Path | None, trust_pickle: bool, comm: Comm
) -> tuple[DetectionModel, list[str]]:
    """The model on the CPU with weights that depend on the seed alone, or those of ``init``."""
    family = plugins().models()[config.model.family]
    torch.manual_seed(config.train.seed)
    model: DetectionModel = family.build(config.model)
    notes: list[str] = []
    if init is not None:
        kind, said = load_any(init, model, family, use_ema=True, trust_pickle=trust_pickle)
        notes = [f"started from the {kind} weights of {init}", *said]
    prepare_dropout(model, config.train.seed)
    if config.train.sync_batchnorm and comm.size > 1:
        notes.append(
            f"{convert_sync_batchnorm(model)} batch normalisations are synchronised over {comm.size} processes"
        )
    return model, notes


def _new_info(
    config: RunConfig, backend: Backend, comm: Comm, model: DetectionModel, command: list[str], notes: list[str]
) -> dict[str, Any]:
    return {
        "schema": RUN_SCHEMA,
        "name": config.name,
        "status": "running",
        "created": now(),
        "finished": None,
        "portbev": __version__,
        "command": command,
        "config": dump_config(config),
        "config_digest": config_digest(config),
        "model": {"family": config.model.family, "parameters": sum(p.numel() for p in model.parameters())},
        "seed": config.train.seed,
        "backend": {
            "name": backend.name,
            "label": backend.label,
            "device_type": backend.device_type,
            "emulated": backend.emulated,
            "collective": backend.collective if comm.size > 1 else None,
            "device_name": backend.device_name(comms.local_rank(backend)),
            "world_size": comm.size,
        },
        "environment": backend.environment(),
        "precision": config.compute.precision,
        "amp": config.compute.amp,
        "deterministic": config.compute.deterministic,
        "kernels": {},
        "data": {},
        "progress": {"step": 0, "epoch": 0, "samples": 0, "total_steps": 0, "skipped_steps": 0},
        "training": {"fps": None, "step_time_median": None, "peak_memory": 0, "seconds": 0.0},
        "evaluations": [],
        "resumed": [],
        "notes": notes,
        "warnings": [],
        "error": None,
    }


def _data_info(config: RunConfig, source: Path | str | None, train_data: Dataset, eval_data: Dataset) -> dict[str, Any]:
    return {
        "root": str(train_data.root),
        "source": str(source),
        "version": train_data.version,
        "benchmark": eval_data.benchmark,
        "train_split": train_data.split,
        "eval_split": eval_data.split,
        "digest": train_data.digest(),
        "eval_digest": eval_data.digest(),
        "train_samples": len(train_data),
        "eval_samples": len(eval_data),
        "notes": [*train_data.notes, *(note for note in eval_data.notes if note not in train_data.notes)],
    }


def _continue(parts: Parts, say: Callable[[str], None]) -> None:
    """Take up the run in the output directory, after checking that it is the same run."""
    recorder, new = parts.recorder, parts.recorder.info
    run = load_run(recorder.path)
    old, where = run.info, str(recorder.path)
    keys = config_differences(dump_config(run.config), new["config"])  # with keys that came after the run
    if keys:
        what = f"the run was made with another configuration; these keys differ: {', '.join(keys)}"
        raise PortbevError(what, where=where, cure="Give the same configuration, or start anew with another --out")
    for name in ("name", "emulated", "world_size"):
        if old["backend"][name] != new["backend"][name]:
            what = f"the run was made with backend {name} {old['backend'][name]!r}, not {new['backend'][name]!r}"
            raise PortbevError(
                what, where=where, cure="Continue it the same way, or start anew from its weights: --init"
            )
    for name in ("digest", "version"):
        if old["data"][name] != new["data"][name]:
            raise PortbevError(
                f"the training data changed ({name})", where=where, cure="Give the data it was made with"
            )
    if old["status"] == "finished" and old["progress"]["step"] >= parts.total_steps:
        new["status"] = "finished"
        return
    notes: list[str] = []
    parts.checkpoint = parts.checkpoints.newest(notes)
    if parts.checkpoint is not None and parts.checkpoint.step > parts.total_steps:
        what = f"the run is at step {parts.checkpoint.step}, beyond train.max_steps"
        raise PortbevError(what, where=where, cure="Raise train.max_steps")
    if parts.checkpoint is not None and (parts.ema is None) != (parts.checkpoint.ema is None):
        raise CheckpointError("the average of the weights is missing", where=where)
    step = 0 if parts.checkpoint is None else parts.checkpoint.step
    for key in ("created", "command", "notes", "training"):
        new[key] = old[key]
    new["warnings"] = old["warnings"]
    new["evaluations"] = [e for e in old.get("evaluations", []) if e["step"] <= step]
    new["resumed"] = [*old["resumed"], {"step": step, "time": now(), "after": old["status"]}]
    for note in notes:
        say(f"warning: {note}")
        recorder.warn(note)
    say(f"resuming at step {step}" if step else "no checkpoint yet: starting at step 0")


def _begin(parts: Parts, say: Callable[[str], None]) -> None:
    """Make the output directory ready for the first step."""
    comm, recorder = parts.comm, parts.recorder
    step = 0 if parts.checkpoint is None else parts.checkpoint.step
    recorder.info["progress"]["total_steps"] = parts.total_steps

    def prepare() -> None:
        for name in parts.checkpoints.clean():
            note = f"removed what an interrupted checkpoint left behind: {name}"
            say(note)
            recorder.warn(note)
        parts.checkpoints.drop_after(step)
        recorder.write()

    comm.on_main(prepare)
    if parts.config.train.tensorboard and comm.is_main:
        parts.board = TensorBoard(recorder.path / "tensorboard", step + 1)
    for note in parts.recorder.info["data"]["notes"]:
        say(f"note: {note}")
