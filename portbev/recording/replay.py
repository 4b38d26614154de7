"""A call once more: on the device, by every provider, and by the definition in float64 on the host.

The definition of an operator of :mod:`portbev.ops` is its own; that of a function of torch, or of a module, is the same
function in float64 on the CPU, with the references of our operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from portbev.kernels import KERNELS, Kernel
from portbev.ops.operator import OPERATORS, BackwardOperator
from portbev.parity.bisect.differences import FEWEST, MOST, SHIFTED
from portbev.parity.bisect.verdict import Provider
from portbev.recording.capture import Call, mapped, set_modes
from portbev.recording.values import tensors_in

WRONG = 16.0
"""An error of so many times that of the same call in the same dtype on the CPU is no rounding."""
LARGE = 20_000
"""Elements from which on the definition of dropout, which counts in Python, is left to the reference."""
Results = list[Tensor | None]


@dataclass
class Replay:
    """What a call gave, and should have given.

    Attributes:
        what: ``forward`` or ``backward``.
        exact: the results, or gradients of the inputs, in float64.
        found: the device's.
        error: the device's relative distance from them, of the worst; plain: that of the CPU in the same dtype.
        providers: of an operator of ours, each of its kernels.
        rounded: name of the format to which the inputs, or the results, were rounded, if that explains the error.
        left: what of the error that leaves.
    """

    what: str
    exact: Results
    found: Results
    error: float
    plain: float
    providers: list[Provider] = field(default_factory=list)
    rounded: str = ""
    left: float = 0.0

    @property
    def is_wrong(self) -> bool:
        return not self.error <= WRONG * self.plain

    @property
    def ratio(self) -> float:
        return self.error / self.plain if self.plain else math.inf


def replay(call: Call, backward: bool, host: Callable[..., Any]) -> Replay:
    """Compute a call again.

    Args:
        backward: its gradients, for the gradients of its results that the step had.
        host: what computes it on the CPU, in whatever dtype it is given.
    """
    grads = dict(call.grads) if backward else None
    exact = run(host, call, grads, torch.float64)
    plain = run(host, call, grads, None)
    found: Results = _device_gradients(call) if backward else list(call.results)
    floor = _floor(call)
    made = Replay(
        "backward" if backward else "forward",
        exact,
        found,
        error=apart(found, exact),
        plain=max(apart(plain, exact), floor),
    )
    made.providers = list(_by_provider(call, grads, exact, made.plain))
    if made.is_wrong and math.isfinite(made.error):
        made.rounded, made.left = _explained(call, grads, host, made)
    return made


def host_of(call: Call, module: nn.Module | None) -> Callable[..., Any]:
    """What computes ``call`` on the CPU: the definition, the function itself, or ``module``, a clean twin."""
    if isinstance(call.run, nn.Module):
        assert module is not None
        return module
    name = call.key.operator.removeprefix("portbev.")
    if call.key.operator.startswith("portbev.") and name in OPERATORS:
        operator = OPERATORS[name]
        large = name == "dropout" and call.results[0].numel() > LARGE

        def defined(*arguments: Any) -> Any:
            made = operator.forward_call(*arguments)
            return KERNELS.references[name].run(made) if large else operator.definition(made)

        return defined
    return call.run


def run(host: Callable[..., Any], call: Call, grads: dict[int, Tensor] | None, dtype: torch.dtype | None) -> Results:
    """Results of ``call`` on the CPU, or its gradients, in ``dtype`` (None: its own)."""

    def there(x: Tensor) -> Tensor:
        moved = x.detach().cpu()
        if dtype is not None and moved.is_floating_point():
            moved = moved.to(dtype)
        elif dtype is not None and moved.is_complex():
            moved = moved.to(torch.complex128)
        return moved.clone().requires_grad_(grads is not None and x.requires_grad)

    args, kwargs = mapped((call.args, call.kwargs), there)
    if isinstance(host, nn.Module):
        host.to(dtype or torch.float32)
        set_modes(host, call.modes)
    with KERNELS.references_alone():
        return _results(host, args, kwargs, grads, there)


def _results(
    host: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    grads: dict[int, Tensor] | None,
    there: Callable[[Tensor], Tensor],
) -> Results:
    leaves: list[Tensor] = []

    def used(x: Tensor) -> Tensor:
        if not x.requires_grad:
            return x
        leaves.append(x)
        return x.clone()  # an operator may write into it

    with torch.set_grad_enabled(grads is not None):
        args, kwargs = mapped((args, kwargs), used)
        results = list(tensors_in(host(*args, **kwargs)))
    if grads is None:
        return [one.detach() for one in results]
    asked = [(results[i], there(grad).detach()) for i, grad in grads.items() if results[i].requires_grad]
    if isinstance(host, nn.Module):
        leaves += [p for p in host.parameters() if p.requires_grad]
    if not asked or not leaves:
        return []
    outputs, weights = ([one for one, _ in asked], [grad.to(one.dtype) for one, grad in asked])
    return list(torch.autograd.grad(outputs, leaves, weights, allow_unused=True))


def _device_gradients(call: Call) -> Results:
    """Gradients of the call's inputs, computed again where it ran."""
    args, kwargs = mapped((call.args, call.kwargs), lambda x: x.detach().clone().requires_grad_(x.requires_grad))
    if isinstance(call.run, nn.Module):
        set_modes(call.run, call.modes)
    return _results(call.run, args, kwargs, call.grads, lambda x: x)


def apart(found: Sequence[Tensor | None], exact: Sequence[Tensor | None]) -> float:
    """The largest relative Euclidean distance of any of the results; infinite where not finite numbers differ."""
    worst = 0.0
    for one, truth in zip(found, exact, strict=False):
        if one is None or truth is None or not (truth.is_floating_point() or truth.is_complex()):
            if one is not None and truth is not None and not torch.equal(one.cpu(), truth):
                return math.inf
            continue
        difference = one.detach().cpu().to(truth.dtype) - truth
        if not torch.equal(difference.isfinite(), truth.isfinite()):
            return math.inf
        finite = truth.isfinite()
        size = truth[finite].abs().square().sum().sqrt().item()
        length = difference[finite].abs().square().sum().sqrt().item()
        worst = max(worst, length / size if size else (0.0 if length == 0 else math.inf))
    return worst


def is_noise(found: Results, exact: Results) -> bool:
    """Whether what the results are off by looks like rounding: everywhere, of both signs, and no multiple of them."""
    pairs = [
        (x.detach().cpu().double(), y.double()) for x, y in zip(found, exact, strict=False) if _real(x) and _real(y)
    ]
    if not pairs:
        return False
    x, truth = (torch.cat([one[side].flatten() for one in pairs]) for side in (0, 1))
    error = x - truth
    kept = (truth != 0) & error.isfinite()
    error, truth = error[kept], truth[kept]
    if error.numel() < 64:
        return False
    size, length = error.square().mean().sqrt(), truth.square().mean().sqrt()
    if not FEWEST < float(size / length) < MOST:
        return False
    touched = (error.abs() > 1e-6 * truth.abs()).double().mean()
    shift, likeness = error.mean() / size, (error * truth).mean() / (size * length)
    return float(touched) > 0.5 and abs(float(shift)) < SHIFTED and abs(float(likeness)) < SHIFTED


def _real(x: Tensor | None) -> TypeGuard[Tensor]:
    return x is not None and x.is_floating_point()


def _floor(call: Call) -> float:
    """Half a unit in the last place of the coarsest floating result: nobody can be asked for less."""
    floating = [one for one in call.results if one.is_floating_point() or one.is_complex()]
    return max((torch.finfo(one.dtype).eps / 2 for one in floating), default=0.0)


def _by_provider(call: Call, grads: dict[int, Tensor] | None, exact: Results, plain: float) -> Iterator[Provider]:
    """Every kernel of the operator for the device, and the reference on the host."""
    name = call.key.operator.removeprefix("portbev.")
    if not call.key.operator.startswith("portbev.") or name not in OPERATORS:
        return
    operator = OPERATORS[name]
    for kernel, side in _kernels(name):
        args = mapped(call.args, _on_host if side == "host" else torch.Tensor.detach)
        made, grad = operator.forward_call(*args), None
        if grads is not None:
            if not isinstance(operator.gradient, BackwardOperator) or 0 not in grads:
                return
            grad = (grads[0].cpu() if side == "host" else grads[0]).contiguous()
        entry = Provider(kernel.provider, side)
        try:
            reason = kernel.refusal(made, grad)
            if reason is not None:
                entry.note = reason
            else:
                entry.error = apart(_gradients(operator, call, kernel, made, grad), exact)
                entry.ratio = entry.error / plain if plain and math.isfinite(entry.error) else None
        except Exception as error:
            entry.note = f"failed: {type(error).__name__}: {error}"[:120]
        yield entry


def _gradients(operator: Any, call: Call, kernel: Kernel, made: Any, grad: Tensor | None) -> Results:
    """What a kernel gives, in the order of the call's tensors that need a gradient."""
    found = kernel.run(made, grad)
    found = list(found) if isinstance(found, (tuple, list)) else [found]
    if grad is None:
        return found
    by_name = dict(zip(operator.gradient.differentiable, found, strict=True))
    fields = zip(type(made)._fields, call.args, strict=False)
    return [by_name.get(name) for name, value in fields if isinstance(value, Tensor) and value.requires_grad]


def _on_host(x: Tensor) -> Tensor:
    return x.detach().cpu()


def _kernels(name: str) -> Iterator[tuple[Kernel, str]]:
    ranked = KERNELS.ranked().get(name)
    for kernel in ranked.kernels if ranked is not None else ():
        yield kernel, "device"
    yield KERNELS.references[name], "host"


# ---- fewer bits


def _bits(keep: int, *, nearest: bool) -> Callable[[Tensor], Tensor]:
    """Rounds float32 to ``keep`` explicit bits of mantissa."""
    drop = 23 - keep

    def rounded(x: Tensor) -> Tensor:
        if x.dtype not in (torch.float32, torch.float64):
            return x
        bits = x.detach().float().contiguous().view(torch.int32)
        if nearest:
            bits = bits + (1 << (drop - 1)) - 1 + ((bits >> drop) & 1)
        return (bits & ~((1 << drop) - 1)).view(torch.float32).to(x.dtype)

    return rounded


FORMATS: dict[str, Callable[[Tensor], Tensor]] = {
    "bf16": _bits(7, nearest=True),
    "tf32": _bits(10, nearest=True),
    "fp16": lambda x: x.half().to(x.dtype) if x.dtype in (torch.float32, torch.float64) else x,
    "bf16, cut off": _bits(7, nearest=False),
    "tf32, cut off": _bits(10, nearest=False),
}


def _explained(
    call: Call, grads: dict[int, Tensor] | None, host: Callable[..., Any], made: Replay
) -> tuple[str, float]:
    """The format to which inputs (parameters too) or results are rounded on the device, if one explains the error."""
    best, least = "", 0.2 * made.error  # a right guess leaves the sums' own rounding, a thousandth
    for name, rounding in FORMATS.items():
        for what in ("inputs", "results"):
            left = apart(made.found, _rounded(call, grads, host, rounding, what, made.exact))
            if left < (0.5 if best else 1.0) * least:  # formats of as many bits come out nearly alike
                best, least = f"{what} rounded to {name}", left
    return best, least if best else made.error


def _rounded(
    call: Call,
    grads: dict[int, Tensor] | None,
    host: Callable[..., Any],
    rounding: Callable[[Tensor], Tensor],
    what: str,
    exact: Results,
) -> Results:
    if what == "results":
        return [None if one is None else rounding(one) for one in exact]

    def change(x: Tensor) -> Tensor:
        return rounding(x.detach()).requires_grad_(x.requires_grad) if x.is_floating_point() else x

    args, kwargs = mapped((call.args, call.kwargs), change)
    other = Call(call.key, call.run, args, kwargs, call.results, modes=call.modes)
    turned = None if grads is None else {index: rounding(grad) for index, grad in grads.items()}
    if not isinstance(host, nn.Module):
        return run(host, other, turned, torch.float64)
    state = {name: value.clone() for name, value in host.state_dict().items()}
    try:
        with torch.no_grad():
            for parameter in host.parameters():
                parameter.copy_(rounding(parameter))
        return run(host, other, turned, torch.float64)
    finally:
        host.load_state_dict(state)
