"""The pieces of ``torch.nn.SyncBatchNorm``, for which the CPU has no kernels.

Formulas of Ioffe and Szegedy, "Batch Normalization" (2015): statistics per channel over N, H, W of all processes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portbev_emulated.memory import to_device_alias, to_host_alias


def register(library: torch.library.Library) -> None:
    """Register the five operators that SyncBatchNorm is made of."""
    for name, kernel in {
        "batch_norm_stats": stats,
        "batch_norm_gather_stats_with_counts": gather_stats,
        "batch_norm_elemt": normalise,
        "batch_norm_backward_reduce": backward_sums,
        "batch_norm_backward_elemt": backward_input,
    }.items():
        library.impl(name, kernel, "PrivateUse1")


def stats(input: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1/sqrt(biased variance + eps) per channel (C,), in float32 or wider, of ``input`` (N,C,...)."""
    x = _wide(to_host_alias(input))
    axes = _axes(x)
    mean = x.mean(axes)
    variance = (x - _channels(mean, x)).square().mean(axes)
    return to_device_alias(mean), to_device_alias(torch.rsqrt(variance + eps))


def gather_stats(
    input: Tensor,
    mean: Tensor,
    invstd: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float,
    eps: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Joint statistics (C,) from those of each process, ``mean`` and ``invstd`` (P,C), ``counts`` (P,) elements."""
    means, variances = to_host_alias(mean), to_host_alias(invstd).pow(-2) - eps
    weight = to_host_alias(counts).reshape(-1, 1).to(means.dtype)
    total = weight.sum()
    joint = (means * weight).sum(0) / total
    variance = ((variances + (means - joint).square()) * weight).sum(0) / total
    if running_mean is not None:
        running = to_host_alias(running_mean)
        running.mul_(1 - momentum).add_(joint.to(running.dtype), alpha=momentum)
    if running_var is not None:
        running = to_host_alias(running_var)
        unbiased = variance * (total / (total - 1))
        running.mul_(1 - momentum).add_(unbiased.to(running.dtype), alpha=momentum)
    return to_device_alias(joint), to_device_alias(torch.rsqrt(variance + eps))


def normalise(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, eps: float
) -> Tensor:
    """``(input - mean) * invstd * weight + bias`` in the dtype of ``input``."""
    x = to_host_alias(input)
    wide = _wide(x)
    scale = to_host_alias(invstd) if weight is None else to_host_alias(invstd) * to_host_alias(weight)
    y = (wide - _channels(to_host_alias(mean), wide)) * _channels(scale, wide)
    if bias is not None:
        y = y + _channels(to_host_alias(bias), wide)
    return to_device_alias(y.to(x.dtype))


def backward_sums(
    grad_out: Tensor,
    input: Tensor,
    mean: Tensor,
    invstd: Tensor,
    weight: Tensor | None,
    input_g: bool,
    weight_g: bool,
    bias_g: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sum of the gradient, sum of gradient x (input - mean), gradient of weight and of bias, each (C,)."""
    grad, x = _wide(to_host_alias(grad_out)), _wide(to_host_alias(input))
    axes = _axes(x)
    total = grad.sum(axes)
    dot = (grad * (x - _channels(to_host_alias(mean), x))).sum(axes)
    grad_weight = dot * to_host_alias(invstd)
    return to_device_alias(total), to_device_alias(dot), to_device_alias(grad_weight), to_device_alias(total.clone())


def backward_input(
    grad_out: Tensor,
    input: Tensor,
    mean: Tensor,
    invstd: Tensor,
    weight: Tensor | None,
    sum_dy: Tensor,
    sum_dy_xmu: Tensor,
    count: Tensor,
) -> Tensor:
    """Gradient of the input, from sums over all processes."""
    host_grad = to_host_alias(grad_out)
    grad, x = _wide(host_grad), _wide(to_host_alias(input))
    total = to_host_alias(count).sum().to(grad.dtype)
    inverse = to_host_alias(invstd)
    scale = inverse if weight is None else inverse * to_host_alias(weight)
    centred = x - _channels(to_host_alias(mean), x)
    shared = _channels(to_host_alias(sum_dy) / total, x)
    along = centred * _channels(inverse.square() * to_host_alias(sum_dy_xmu) / total, x)
    return to_device_alias(((grad - shared - along) * _channels(scale, x)).to(host_grad.dtype))


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _axes(x: Tensor) -> list[int]:
    return [axis for axis in range(x.dim()) if axis != 1]


def _channels(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape([1, -1] + [1] * (like.dim() - 2))
