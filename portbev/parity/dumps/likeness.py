"""Whether two dumps are of the same step; what may differ, and does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portbev import lists
from portbev.config.section import flatten
from portbev.errors import PortbevError
from portbev.parity.dumps.reading import Dump
from portbev.parity.settings import SAMPLES, differing_keys, other_experiment, settings

_CURE = "Dump both from one configuration, seed, data set and checkpoint"


@dataclass(frozen=True)
class Difference:
    """Something that two dumps may differ in, and do. None where one has no such entry."""

    key: str
    a: Any
    b: Any


def check_alike(a: Dump, b: Dump) -> None:
    """Refuse to compare what cannot agree, other weights too.

    Raises:
        PortbevError: as :func:`check_comparable`, or the steps start from other weights.
    """
    check_comparable(a, b)
    _check_weights(a, b, f"{a.label}, {b.label}")


def check_comparable(a: Dump, b: Dump) -> None:
    """Refuse to compare what is not one step of one experiment on one data set.

    Raises:
        PortbevError: another step, experiment, data set, seed, number of processes; one line with what differs.
    """
    first, second = a.header, b.header
    where = f"{a.label}, {b.label}"
    for what, one, other in (
        ("kind of step", first.step.kind, second.step.kind),
        ("step", first.step.number, second.step.number),
        ("model family", first.run.model.family, second.run.model.family),
        ("number of processes", len(first.ranks), len(second.ranks)),
        ("seed", first.run.seed, second.run.seed),
        ("model.parameters", first.run.model.parameters, second.run.model.parameters),
    ):
        if one != other:
            raise PortbevError(f"the dumps are not of one step: {what} {one} and {other}", where=where, cure=_CURE)
    _check_experiment(a, b, where)
    _check_data(a, b, where)


def allowed_settings(a: Dump, b: Dump) -> list[Difference]:
    """Keys of the configuration that say how it is computed, or what is watched, and differ."""
    first, second = settings(a.header.run), settings(b.header.run)
    differing = differing_keys(a.header.run, b.header.run)
    return [Difference(key, first.get(key), second.get(key)) for key, m in differing.items() if m.is_reported]


def environment(a: Dump, b: Dump) -> list[Difference]:
    """Backend, device, libraries: what differs."""
    first, second = _environment(a), _environment(b)
    keys = list(dict.fromkeys([*first, *second]))
    return [Difference(key, first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)]


def ledger(a: Dump, b: Dump) -> list[Difference]:
    """Operators that other providers served, forward or backward."""
    first, second = a.header.run.kernels, b.header.run.kernels
    found = []
    for operator in sorted({*first, *second}):
        for direction in ("forward", "backward"):
            one, other = (sorted(getattr(k[operator], direction)) if operator in k else [] for k in (first, second))
            if one != other:
                found.append(Difference(f"{operator} {direction}", ", ".join(one), ", ".join(other)))
    return found


def optimizer(a: Dump, b: Dump) -> list[Difference]:
    """Hyperparameters of a parameter that differ though the configurations agree; parameters alike are one entry."""
    first, second = hyperparameters(a), hyperparameters(b)
    groups: dict[tuple[str, Any, Any], list[str]] = {}
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name, {}), second.get(name, {})
        for key in dict.fromkeys([*one, *other]):
            if one.get(key) != other.get(key):
                groups.setdefault((key, one.get(key), other.get(key)), []).append(name)
    return [
        Difference(f"{key} of {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else ""), one, other)
        for (key, one, other), names in groups.items()
        if key not in WAYS
    ]


WAYS = frozenset({"foreach", "fused", "capturable", "differentiable"})
"""Ways to compute the same update."""


def _check_experiment(a: Dump, b: Dump, where: str) -> None:
    keys = other_experiment(a.header.run, b.header.run)
    if not keys:
        return
    first, second = settings(a.header.run), settings(b.header.run)
    samples = (a.header.run.samples_per_step, b.header.run.samples_per_step)
    told = [
        f"samples of a step {samples[0]} and {samples[1]}"
        if key == SAMPLES
        else f"{key} {first.get(key)} and {second.get(key)}"
        for key in keys
    ]
    raise PortbevError(f"the configurations differ: {lists.named(told)}", where=where, cure=_CURE)


def _check_data(a: Dump, b: Dump, where: str) -> None:
    first, second = a.header.run.data, b.header.run.data
    names = (
        ("version", "train_split", "digest")
        if a.header.step.kind == "train"
        else ("version", "eval_split", "eval_digest")
    )
    for name in names:
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            what = f"the data differ: {name.replace('_', ' ')} {str(one)[:12]} and {str(other)[:12]}"
            raise PortbevError(what, where=where, cure="Dump both on the same data (portbev data check shows a digest)")


def _check_weights(a: Dump, b: Dump, where: str) -> None:
    if a.header.weights == b.header.weights:
        return
    first, second = _start(a), _start(b)
    names = [name for name in dict.fromkeys([*first, *second]) if first.get(name) != second.get(name)]
    what = f"the weights before the step differ: {lists.named(names) or 'other parameters'}"
    raise PortbevError(what, where=where, cure="Start both from one checkpoint: --init CHECKPOINT, or dump one run")


def _start(dump: Dump) -> dict[str, str]:
    """Hashes of parameters and buffers before the step, of the first process."""
    return {
        record.key.module: record.sketch.hash
        for record in dump.ranks[0].records
        if record.key.role in ("parameter", "buffer") and record.sketch is not None
    }


def _environment(dump: Dump) -> dict[str, Any]:
    run = dump.header.run
    backend = {f"backend.{key}": value for key, value in run.backend.model_dump().items()}
    switches = {name: getattr(run, name) for name in ("precision", "amp", "deterministic", "portbev")}
    return {**backend, **switches, **flatten(run.environment)}


def hyperparameters(dump: Dump) -> dict[str, Mapping[str, Any]]:
    """The optimizer's hyperparameters by the parameter's name."""
    return {
        name: {key: value for key, value in group.items() if key != "parameters"}
        for group in dump.header.optimizer
        for name in group["parameters"]
    }
