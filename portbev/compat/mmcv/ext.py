"""``mmcv._ext`` and ``mmcv.utils.ext_loader`` where there are none: the functions that code calls past mmcv.ops."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from portbev.compat.mmcv.multi_scale_deform_attn import attend, sizes
from portbev.compat.mmcv.serving import serve


def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor, im2col_step: int = 64
) -> Tensor:
    """(B, Q, M*D) in the dtype of ``value``; arguments as of ``MultiScaleDeformableAttnFunction.apply``.

    Raises:
        ValueError: arguments that do not fit together.
    """
    with torch.no_grad():
        return attend(value, sizes(shapes, starts), locations, weights)


def ms_deform_attn_backward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int = 64,
) -> None:
    """Adds the gradients by value, locations and weights to the last three tensors."""
    serve(value)
    flat = [size for shape in sizes(shapes, starts) for size in shape]
    wide = torch.promote_types(value.dtype, torch.float32)
    images, queries = locations.shape[:2]
    counts = torch.full((images,), queries, dtype=torch.int64)
    rows = [t.to(wide).flatten(0, 1) for t in (locations, weights)]
    grad = grad_output.to(value.dtype).reshape(images * queries, -1).contiguous()
    found = torch.ops.portbev.ms_deform_attn_backward(grad, value, *rows, counts, flat)
    for into, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), found, strict=True):
        into.add_(gradient.reshape(into.shape))


def get_compiler_version() -> str:
    """Nothing was compiled."""
    return "not available"


def get_compiling_cuda_version() -> str:
    """Nothing was compiled."""
    return "not available"


def load_ext(name: str, funcs: Iterable[str]) -> Any:
    """``mmcv.NAME``, which has ``funcs``.

    Raises:
        AssertionError: it has not, as mmcv does.
    """
    ext = importlib.import_module(f"mmcv.{name}")
    for function in funcs:
        if not hasattr(ext, function):
            raise AssertionError(f"{function} miss in module {name}")
    return ext


def check_ops_exist() -> bool:
    """``mmcv.ops`` can be imported."""
    return True
