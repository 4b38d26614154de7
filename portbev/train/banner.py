"""What a person reads before the first step: what is trained, on what, how, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from portbev import comm as comms
from portbev.backend import Backend
from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.kernels import KERNELS, Candidates
from portbev.runs.layout import CHECKPOINTS, SCALARS
from portbev.train.optim import lr_line
from portbev.train.parts import Parts

_LABEL = 12
HANG = _LABEL + 2
"""By how many characters the rest of a folded line is moved in."""
_TYPES = {"none": "float32", "fp16": "float16 where autocast takes it, else float32"}
_TYPES["bf16"] = _TYPES["fp16"].replace("float16", "bfloat16")


def heading(config: RunConfig, backend: Backend, comm: Comm, out: Path, why: str = "") -> list[str]:
    """Name, output, device and arithmetic: known before the data are opened.

    Args:
        why: how the backend was chosen, where the user left that open.
    """
    device = backend.device_name(comms.local_rank(backend))
    processes = f", {comm.size} processes" if comm.size > 1 else ""
    numbers = f"{_TYPES[config.compute.amp]}, precision {config.compute.precision}"
    return [
        config.name,
        line("output", str(out)),
        line("device", f"{backend.label} ({device}){processes}{'; ' if why else ''}{why}"),
        line("numbers", f"{numbers}; deterministic: {config.compute.deterministic}"),
        line("operators", served(KERNELS.ranked())),
    ]


def details(parts: Parts) -> list[str]:
    """Model, steps and logs: known when everything is ready."""
    train, shares, out = parts.config.train, parts.shares, parts.writer.path
    batch = f"batch {shares.batch_size}"
    batch += f" x {train.accumulate} accumulated" if train.accumulate > 1 else ""
    batch += f" x {shares.parts} {'processes' if shares.plain else 'parts'}" if shares.parts > 1 else ""
    samples = parts.writer.record.samples_per_step
    told = [
        line("model", f"{parts.config.model.family}, {parameters(parts.model)}"),
        line("a step", batch if batch == f"batch {samples}" else f"{samples} samples: {batch}"),
        line("steps", _steps(parts)),
        line("learning", f"{parts.config.optimizer.name}, {lr_line(parts.config.optimizer, samples)}"),
        line("logs", f"{out / SCALARS} (losses of every step), {out / CHECKPOINTS}"),
    ]
    if train.tensorboard:
        told.append(line("", f"tensorboard --logdir {out / 'tensorboard'}"))
    return told


def line(label: str, text: str) -> str:
    """A line of the banner."""
    return f"  {label:<{_LABEL}}{text}"


def parameters(model: nn.Module) -> str:
    """How many numbers the model has, and how many of them do not learn."""
    total = sum(weight.numel() for weight in model.parameters())
    frozen = sum(weight.numel() for weight in model.parameters() if not weight.requires_grad)
    return f"{_count(total)} parameters" + (f", {_count(frozen)} of them frozen" if frozen else "")


def served(ranked: Mapping[str, Candidates]) -> str:
    """Who is asked first for each operator, by provider."""
    by: dict[str, list[str]] = {}
    for operator, found in sorted(ranked.items()):
        by.setdefault(found.kernels[0].provider if found.kernels else "nobody", []).append(operator)
    return "; ".join(f"{provider}: {', '.join(operators)}" for provider, operators in by.items())


def _steps(parts: Parts) -> str:
    total, schedule = parts.total_steps, parts.schedule_steps
    epochs, each = parts.config.train.epochs, parts.data.steps_per_epoch
    text = f"{total}: {epochs} epoch{'s' if epochs > 1 else ''} of {each}"
    if total < schedule:
        text = f"{total} of {schedule} (train.max_steps), {each} an epoch"
    return text if parts.checkpoint is None else f"{text}; {parts.checkpoint.step} are done"


def _count(number: int) -> str:
    if number < 10_000:
        return str(number)
    return f"{number / 1e6:.3g} M" if number >= 1e6 else f"{number / 1e3:.3g} k"
