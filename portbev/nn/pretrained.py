"""Weights that others trained, matched with a model's by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from portbev.errors import CheckpointError
from portbev.lists import Shortened, whole
from portbev.nn.backbone_weights import load_resnet
from portbev.nn.derived import derived_buffers
from portbev.nn.misfit import Hint, reasons, summarise
from portbev.nn.names import Found, all_tensors, class_names, class_notes, find_weights
from portbev.nn.resnet import unread_weights

__all__ = ["Imported", "fit_state", "load_resnet"]

PARTIAL = "or train from what fits: portbev train CONFIG --init FILE --init-partial"


@dataclass
class Imported:
    """A checkpoint's weights under the model's own keys, and what a person should know about the checkpoint."""

    state: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)


@dataclass
class _Fit:
    """Weights of a checkpoint beside those of a model. Names are those of the checkpoint."""

    state: dict[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    misshaped: list[str]
    notes: list[str]

    def problems(self) -> list[str]:
        return [
            *summarise("missing", self.missing),
            *summarise("unexpected", self.unexpected),
            *summarise("misshaped", self.misshaped),
        ]


def fit_state(
    checkpoint: Mapping[str, Any],
    model: nn.Module,
    *,
    names: Mapping[str, str] | None = None,
    partial: bool = False,
    prefer_average: bool = True,
) -> Imported:
    """The weights in a checkpoint under the model's own keys, on the host and in the model's dtypes.

    The weights are where most of the model's names are found, below any nesting of mappings and wrappers (see
    :func:`portbev.nn.names.find_weights`). The checkpoint must then hold every key of the model in the model's shape,
    and no other key, except: derived buffers, which always keep the model's own values (see
    :func:`portbev.nn.derived.derived_buffers`); ``num_batches_tracked``, which old versions of torch lack; stages that
    a backbone of the model ends before; and the second copy that OpenMMLab's EMA hook writes among the weights
    (``ema_`` and the name with underscores). The model's ``classes`` and ``weight_hints``, make messages
    clearer (see :class:`portbev.models.DetectionModel`).

    Args:
        names: maps the checkpoint's name of each weight to the model's key; None: the names are the same. A checkpoint
            with the model's own keys is read too.
        partial: take what fits, and note what does not.
        prefer_average: read a moving average of the weights where there is one.

    Returns:
        A whole state of the model: where nothing was taken from the checkpoint, the model's own values.

    Raises:
        CheckpointError: no weights of the model in it; or, unless ``partial``, missing, unexpected or misshaped keys,
            listed, with what differs in the configuration.
    """
    expected = model.state_dict()
    identity = {key: key for key in expected}
    vocabularies = [identity] if names is None or names == identity else [dict(names), identity]
    found = [_find(checkpoint, model, vocabulary, prefer_average) for vocabulary in vocabularies]
    chosen = max(range(len(found)), key=lambda index: _hits(found[index], vocabularies[index]))
    place, vocabulary = found[chosen], vocabularies[chosen]
    if not place.weights:
        raise _nothing_in(checkpoint, vocabulary)
    fit = _compare(place, vocabulary, model)
    fit.notes += class_notes(class_names(checkpoint), _classes(model))
    fit.notes += [f"{name} {checkpoint[name]}" for name in ("epoch", "global_step") if name in checkpoint]
    problems = fit.problems()
    hints: Sequence[Hint] = getattr(model, "weight_hints", ())
    shapes = {name: expected[key].shape for name, key in vocabulary.items()}
    why = reasons({name: value.shape for name, value in place.weights.items()}, shapes, hints) if problems else []
    taken = len(fit.state)
    if problems and (not partial or not taken):
        raise CheckpointError(_misfit(fit, vocabulary, problems, why), cure=_cure(why, taken))
    if problems:
        told = f"{taken} of {len(expected)} weights were taken; "
        short, long = ("; ".join([*why, *texts]) for texts in (problems, map(whole, problems)))
        fit.notes.append(Shortened(told + short, told + long))
    own = {key: value.detach().to("cpu") for key, value in expected.items() if not value.is_meta}
    return Imported({**own, **fit.state}, fit.notes)


def _find(checkpoint: Mapping[str, Any], model: nn.Module, names: Mapping[str, str], prefer_average: bool) -> Found:
    expected, derived = model.state_dict(), derived_buffers(model)
    shapes = {name: expected[key].shape for name, key in names.items() if key not in derived}
    return find_weights(checkpoint, shapes, prefer_average=prefer_average)


def _classes(model: nn.Module) -> list[str]:
    """The model's classes in the order of its outputs, where it or its configuration names them."""
    return list(getattr(model, "classes", None) or getattr(getattr(model, "config", None), "classes", None) or ())


def _hits(found: Found, names: Mapping[str, str]) -> int:
    return sum(name in names for name in found.weights)


def _compare(found: Found, names: Mapping[str, str], model: nn.Module) -> _Fit:
    expected, derived, weights = model.state_dict(), derived_buffers(model), found.weights
    fit = _Fit({}, [], [], [], [])
    differing = []
    for name, key in names.items():
        own, value = expected[key], weights.get(name)
        if key in derived:
            if value is not None and not _same(own, value):
                differing.append(name)
        elif value is None:
            if not key.endswith("num_batches_tracked"):
                fit.missing.append(name)
        elif value.shape != own.shape:
            fit.misshaped.append(f"{name} {tuple(value.shape)} for {tuple(own.shape)}")
        elif own.is_floating_point() and not value.is_floating_point():
            fit.misshaped.append(f"{name} {_short(value.dtype)} for {_short(own.dtype)}")
        else:
            fit.state[key] = value.detach().to("cpu", own.dtype)
    unread = set(unread_weights(model, weights))
    copies = {"ema_" + name.replace(".", "_") for name in names} & weights.keys()
    fit.unexpected = [name for name in weights if name not in names and name not in copies | unread]
    fit.notes = _place_notes(found)
    if unread:
        fit.notes.append(f"{len(unread)} weights of stages that the model does not read left aside")
    if copies:
        fit.notes.append(f"{len(copies)} shadow weights of an EMA hook left aside")
    if differing:
        what = "computed from the configuration, not taken from the checkpoint, where they differ"
        fit.notes.append(f"{what}: {', '.join(differing)}")
    broken = [key for key, value in fit.state.items() if value.is_floating_point() and not _finite(value)]
    fit.notes += [f"the checkpoint holds {text}" for text in summarise("weights that are not finite", broken)]
    return fit


def _place_notes(found: Found) -> list[str]:
    """Which of several copies is read, and what lies beside it."""
    notes = []
    if found.average:
        notes.append(f"the average of the weights ({found.place}) is read")
    elif found.others:
        notes.append(f"the weights in {found.place or 'the file'} are read, not those in {', '.join(found.others)}")
    if found.beside and found.place:
        aside = [name for name in found.beside if not any(name.startswith(f"{other}.") for other in found.others)]
        notes += [f"left aside: {text}" for text in summarise("tensors beside the model", aside)]
    return notes


def _same(own: Tensor, other: Tensor) -> bool:
    """Whether a derived buffer is what it was, up to the rounding of averages and other machines."""
    if own.is_meta or own.shape != other.shape:
        return own.is_meta
    return torch.allclose(own.detach().cpu().double(), other.double(), rtol=1e-4, atol=1e-6, equal_nan=True)


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())


def _misfit(fit: _Fit, names: Mapping[str, str], problems: Sequence[str], why: list[str]) -> str:
    if not fit.state:
        why = ["none of its weights has a name and shape of the model's", *why]
    elif len(fit.state) * 4 < len(names):
        why = [f"only {len(fit.state)} of its weights have a name and shape of the model's", *why]
    short, long = ("does not fit the model: " + "; ".join([*why, *texts]) for texts in (problems, map(whole, problems)))
    return Shortened(f"{short} (--debug lists them all)" if short != long else short, long)


def _cure(why: list[str], taken: int) -> str:
    if not taken:
        return "Give a checkpoint of this kind of model, or the configuration that it was trained with"
    return f"Set what differs as it was trained, {PARTIAL}" if why else f"Give its own configuration, {PARTIAL}"


def _nothing_in(checkpoint: Mapping[str, Any], names: Mapping[str, str]) -> CheckpointError:
    there = all_tensors(checkpoint)
    if not there:
        return CheckpointError("holds no weights", cure="Give a checkpoint with a 'state_dict'")
    what = f"holds {len(there)} tensors, but none of the model's: {there[0]} there, {next(iter(names))} in the model"
    return CheckpointError(what, cure="Give a checkpoint of this kind of model, or its own configuration")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
