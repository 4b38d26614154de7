"""Activation checkpointing: less memory, because activations are computed again in the backward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(run: Callable[..., Any], *inputs: Any, owner: nn.Module | None = None) -> Any:
    """``run(*inputs)``. If gradients are enabled, only the inputs are kept for the backward pass.

    Results equal those of a plain call: batch normalisations count each batch once. The only random numbers that
    ``run`` can draw are those of :class:`portbev.nn.dropout.Dropout`, whose masks depend on a key alone.

    Args:
        run: a module, or a function that calls modules of ``owner``.
    """
    if not torch.is_grad_enabled():
        return run(*inputs)
    module = run if isinstance(run, nn.Module) else owner
    return checkpoint(
        run,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (contextlib.nullcontext(), _frozen_statistics(module)),
    )


@contextlib.contextmanager
def _frozen_statistics(module: nn.Module | None) -> Iterator[None]:
    """Within the body, normalisations in training mode do not update their statistics.

    The first forward pass has counted the batch already.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training] if module is not None else []
    saved = [(norm, norm.momentum, _clone(norm.num_batches_tracked)) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in saved:
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)


def _clone(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.clone()
