"""Autocast of the emulated device.

Operators are sorted as torch sorts them for any accelerator: some run in the lower precision, some in float32,
some in the widest of their arguments; the rest is left alone.
"""

# mypy: disable-error-code="attr-defined"
# (private parts of torch, which have no types)

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from portbev_emulated.memory import DEVICE_TYPE

Policy = Literal["lower", "float32", "promote"]

LOWER = (
    "conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d.input conv_transpose3d.input convolution prelu "
    "addmm addmv addr matmul einsum mm mv linear addbmm baddbmm bmm chain_matmul linalg_multi_dot "
    "scaled_dot_product_attention"
)
FLOAT32 = (
    "acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow.Tensor_Scalar "
    "pow.Tensor_Tensor pow.Scalar softplus layer_norm native_layer_norm group_norm norm.Scalar nuclear_norm "
    "cosine_similarity poisson_nll_loss cosine_embedding_loss nll_loss nll_loss2d hinge_embedding_loss kl_div l1_loss "
    "smooth_l1_loss huber_loss mse_loss margin_ranking_loss multilabel_margin_loss soft_margin_loss "
    "triplet_margin_loss multi_margin_loss binary_cross_entropy_with_logits dist pdist cdist renorm logsumexp "
    "softmax.int log_softmax.int cumsum cumprod sum prod grid_sampler"
)
PROMOTE = "addcdiv addcmul atan2 bilinear cross dot vdot index_put tensordot scatter_add cat stack"
_KEY = "AutocastPrivateUse1"


def register(library: torch.library.Library, everything: torch.library.Library) -> None:
    """Register the casts for the lists above in ``aten`` and let every other operator pass."""
    everything.fallback(torch.library.fallthrough_kernel, _KEY)
    policies: tuple[tuple[str, Policy], ...] = ((LOWER, "lower"), (FLOAT32, "float32"), (PROMOTE, "promote"))
    for names, policy in policies:
        for name in names.split():
            library.impl(name, _casting(operator(name), policy), _KEY)


def operator(name: str) -> torch._ops.OpOverload:
    """``aten`` operator by ``name`` or ``name.overload``."""
    found: Any = functools.reduce(getattr, name.split("."), torch.ops.aten)
    chosen: torch._ops.OpOverload = found if isinstance(found, torch._ops.OpOverload) else found.default
    return chosen


def _casting(op: torch._ops.OpOverload, policy: Policy) -> Callable[..., Any]:
    excluded = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def kernel(*args: Any, **kwargs: Any) -> Any:
        dtype = _target(policy, args, kwargs)
        with torch._C._ExcludeDispatchKeyGuard(excluded):
            if dtype is not None:
                args, kwargs = pytree.tree_map(lambda v: v.to(dtype) if _castable(v) else v, (args, kwargs))
            return op(*args, **kwargs)

    return kernel


def _castable(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dtype is not torch.float64


def _target(policy: Policy, args: Any, kwargs: Any) -> torch.dtype | None:
    if policy == "lower":
        return torch.get_autocast_dtype(DEVICE_TYPE)
    if policy == "float32":
        return torch.float32
    dtypes = [value.dtype for value in pytree.tree_leaves((args, kwargs)) if _castable(value)]
    return functools.reduce(torch.promote_types, dtypes) if dtypes else None
