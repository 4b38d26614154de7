"""One subject on a device: its results and gradients, twice, against the definition in float64 on the host."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from portbev.opscheck.edges import bands
from portbev.opscheck.judging import SIGNED, Band, Figures, judge
from portbev.opscheck.rounding import Results, rounding
from portbev.opscheck.subject import Operands, Subject, doubled, evaluate, redrawn

REAL = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}
GRADIENT = "upstream "
DRAWS = 5
"""Times that a bias is looked for again with other values."""
NAN_AND_INFINITY = "result with a NaN and an infinity"


@dataclass
class Oracle:
    """What is right of a subject, computed once for all that are held against it.

    Attributes:
        grads: float64, of each float result, from which gradients start.
        exact: results and gradients by name.
        scale: their rounding.
        bands: their elements at edges.
        non_finite: the results for operands with a NaN and an infinity.
    """

    subject: Subject
    grads: list[Tensor] = field(default_factory=list)
    exact: Results = field(default_factory=dict)
    scale: Results = field(default_factory=dict)
    bands: dict[str, Band] = field(default_factory=dict)
    non_finite: Results = field(default_factory=dict)

    @classmethod
    def of(cls, subject: Subject) -> Oracle:
        """Compute it; the device is not touched."""
        found = cls(subject)
        operands = doubled(subject.operands)
        found.exact = evaluate(subject.define, operands, subject.trained, found.grads, subject.dtype)
        upstream = {f"{GRADIENT}{i}": grad for i, grad in enumerate(found.grads)}
        floats = {name: value for name, value in found.exact.items() if value.is_floating_point()}

        def again(moved: Operands) -> Results:
            own = {name: value for name, value in moved.items() if not name.startswith(GRADIENT)}
            grads = [moved[name] for name in upstream] if upstream.keys() <= moved.keys() else found.grads
            results = evaluate(subject.define, own, subject.trained, list(grads), subject.dtype)
            return {name: results[name] for name in floats}

        every = {**operands, **upstream}
        units = dict.fromkeys(every, subject.unit)
        of_operands = {f"gradient of {name}": value.dtype for name, value in subject.operands.items()}
        dtypes = {name: REAL.get(found, found) for name in floats for found in [of_operands.get(name, subject.dtype)]}
        found.scale = rounding(again, every, units, floats, dtypes, seed_of(subject.key))
        found.bands = bands(subject.call, operands, again)
        if subject.check_non_finite and subject.operands:
            spoilt = doubled(not_finite(subject.operands))
            with suppress(RuntimeError):  # a function that refuses such numbers
                found.non_finite = evaluate(subject.define, spoilt, (), [], subject.dtype)
        return found

    def judge(self, name: str, found: Tensor) -> Figures:
        """A result of a device, on the host."""
        scale = self.scale.get(name, found)
        return judge(found, self.exact[name], scale, self.bands.get(name))


@dataclass
class Finding:
    """What was found of a subject by one provider on a device.

    Attributes:
        figures: by result.
        faults: what is wrong, in words.
        notes: what people should know of it.
        results: what the device returned, on the host.
    """

    figures: dict[str, Figures] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    results: Results = field(default_factory=dict)


def check(oracle: Oracle, device: torch.device, trained: tuple[str, ...], *, repeats: bool = True) -> Finding:
    """Hold what ``device`` computes against the oracle.

    Args:
        trained: operands of which gradients are taken; those of the subject or fewer.
        repeats: whether a second run that differs in a bit is a fault rather than a note.

    Raises:
        Exception: whatever the device raises.
    """
    subject, found = oracle.subject, Finding()
    compute = subject.on(device)
    operands = {name: value.to(device) for name, value in subject.operands.items()}
    with said() as told:
        there = evaluate(compute, operands, trained, oracle.grads, subject.dtype)
        first = {name: value.cpu() for name, value in there.items()}
        again = evaluate(compute, operands, trained, oracle.grads, subject.dtype)
        second = {name: value.cpu() for name, value in again.items()}
    found.results = first
    systematic: list[dict[str, Figures]] | None = None
    for name, value in first.items():
        figures = oracle.judge(name, value)
        if any(SIGNED in fault for fault in figures.faults):
            systematic = _systematic(subject, device, trained) if systematic is None else systematic
            figures = _confirmed(figures, name, systematic)
        found.figures[name] = figures
        found.faults += [f"{name}: {fault}" for fault in figures.faults]
        if not same_bits(value, second[name]):
            text = f"{name}: a second run differs in {int((value != second[name]).sum())} of {value.numel()} elements"
            (found.faults if repeats and not told.varies else found.notes).append(text)
        if there[name].device.type != device.type:
            found.faults.append(f"{name}: is on {there[name].device}, not on {device.type}")
    if oracle.non_finite:
        spoilt = {name: value.to(device) for name, value in not_finite(subject.operands).items()}
        for name, value in evaluate(compute, spoilt, (), [], subject.dtype).items():
            figures = _kinds(value.cpu(), oracle.non_finite[name])
            found.figures[name.replace("result", NAN_AND_INFINITY)] = figures
            found.faults += [f"{name.replace('result', NAN_AND_INFINITY)}: {fault}" for fault in figures.faults]
    if told.fallback and device.type != "cpu":
        found.faults.append(f"computed on the host, not on the device: {told.fallback}")
    return found


def _systematic(subject: Subject, device: torch.device, trained: tuple[str, ...]) -> list[dict[str, Figures]]:
    """Figures for other values. The rounding of a number that many elements share, such as a row's sum, looks like a
    bias, and has another sign and size for other values; a fault's bias stays."""
    found = []
    for draw in range(DRAWS):
        other = Oracle.of(redrawn(subject, draw + 1))
        operands = {name: value.to(device) for name, value in other.subject.operands.items()}
        there = evaluate(subject.on(device), operands, trained, other.grads, subject.dtype)
        found.append({name: other.judge(name, value.cpu()) for name, value in there.items()})
    return found


def _confirmed(figures: Figures, name: str, others: list[dict[str, Figures]]) -> Figures:
    """The figures without a bias that other values do not have."""
    every = [figures.bias, *(other[name].bias for other in others if name in other)]
    stays = any(
        min(sizes) > max(sizes) / 2 > 0 or max(sizes) < min(sizes) / 2 < 0
        for sizes in ([one.gain for one in every], [one.offset for one in every])
    )
    if stays:
        return figures
    return replace(figures, faults=tuple(fault for fault in figures.faults if SIGNED not in fault))


def seed_of(text: str) -> int:
    """A seed that is the same everywhere."""
    return zlib.crc32(text.encode())


def not_finite(operands: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The operands, the first with elements with a NaN in its first third and an infinity in its last one."""
    found = dict(operands)
    for name, value in operands.items():
        if value.numel() >= 8 and value.is_floating_point():
            spoilt = value.contiguous().clone()
            spoilt.view(-1)[value.numel() // 3] = float("nan")
            spoilt.view(-1)[2 * value.numel() // 3] = float("inf")
            found[name] = spoilt
            break
    return found


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same, bit by bit."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one.contiguous().view(-1).view(torch.uint8), other.contiguous().view(-1).view(torch.uint8))


def _kinds(found: Tensor, exact: Tensor) -> Figures:
    """Of results with NaN: the kinds of numbers alone."""
    if found.shape != exact.shape or not found.is_floating_point():
        return Figures(found.numel())
    one, other = found.double(), exact.to(found.dtype).double()
    one, other = (torch.where(value.isfinite(), torch.ones_like(value), value) for value in (one, other))
    return judge(one.to(found.dtype), other, torch.zeros_like(other))


@dataclass
class Told:
    """What torch warned of: ``fallback`` to the host, and whether a function said that its bits vary."""

    fallback: str = ""
    varies: bool = False


@contextmanager
def said() -> Iterator[Told]:
    """Collects what is warned of inside, also what torch warns of once in a process."""
    told, always = Told(), torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield told
    finally:
        torch.set_warn_always(always)
    for warning in caught:
        text = " ".join(str(warning.message).split())
        lower = text.lower()
        if ("fall back" in lower or "fallback" in lower) and "cpu" in lower:
            told.fallback = text[:160]
        told.varies |= "does not have a deterministic implementation" in lower
