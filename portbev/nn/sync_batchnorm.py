"""Batch normalisation over the batches of all processes, built from operations that every device supports."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _SumOverRanks(torch.autograd.Function):
    """all_reduce(sum) whose gradient is all_reduce(sum)."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """``nn.BatchNorm{1,2,3}d`` with batch statistics over the batches of all processes.

    Parameters, buffers and state_dict keys are the same. In evaluation mode, or in a single process, it is plain batch
    normalisation. A process may have an empty batch; if all have, the statistics stay as they were. The variance is
    computed about the global mean, in float32 or wider, with two all_reduce calls.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        if not joins_processes(self):
            return super().forward(input)
        self._check_input_dim(input)
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = torch.tensor([float(x.numel() // x.shape[1])], dtype=x.dtype).to(x.device)
        sums = _SumOverRanks.apply(torch.cat([x.sum(dims), count]))
        total = sums[-1].detach()
        some = total.clamp(min=1)
        mean = sums[:-1] / some
        centred = x - mean.view(shape)
        var = _SumOverRanks.apply((centred * centred).sum(dims)) / some
        if self.training and self.track_running_stats:
            self._update_running_statistics(mean.detach(), var.detach(), total)
        out = centred * torch.rsqrt(var + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, var: Tensor, total: Tensor) -> None:
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        seen = total > 0
        self.num_batches_tracked.add_(seen.to(self.num_batches_tracked.dtype))
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        unbiased = var * (total / (total - 1).clamp(min=1))
        for running, batch in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.copy_(torch.where(seen, running * (1 - momentum) + batch.to(running.dtype) * momentum, running))


def joins_processes(norm: nn.Module) -> bool:
    """Whether the statistics of the next batch of ``norm`` are those of all processes."""
    if not isinstance(norm, SyncBatchNorm) or not (norm.training or norm.running_mean is None):
        return False
    return dist.is_initialized() and dist.get_world_size() > 1


def norm_of_rows(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    """``norm(x)`` of rows (n,C), of which there may be none.

    Without rows the statistics stay as they were, and the parameters are in the graph with gradients of zero: with
    several processes each parameter has a gradient in each of them, whoever has rows.
    """
    if len(x) or not norm.training or joins_processes(norm):
        return norm(x)
    return x * norm.weight + norm.bias if norm.affine else x


def convert_sync_batchnorm(model: nn.Module) -> int:
    """Replace every batch normalisation in ``model`` by a :class:`SyncBatchNorm` that shares its tensors.

    Returns:
        The number of replaced modules.
    """
    replaced = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
                new = SyncBatchNorm(
                    child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
                )
                new.__dict__["_parameters"], new.__dict__["_buffers"] = child._parameters, child._buffers
                new.train(child.training)
                setattr(parent, name, new)
                replaced += 1
    return replaced
