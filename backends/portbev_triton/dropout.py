"""Counted dropout in Triton: the words of :mod:`portbev.ops.dropout`, bit for bit, counted where they are used."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.dropout import DropoutCall, threshold
from portbev_triton.launch import launch
from portbev_triton.probe import BACKENDS, TRITON, probe, unsupported_dtype
from portbev_triton.variants import DTYPES, Variant


def supports(call: DropoutCall) -> str | None:
    """Any shape of float32, float16 and bfloat16."""
    return unsupported_dtype(call.input.dtype)


def forward(call: DropoutCall) -> tuple[Tensor, Tensor]:
    """The result and the mask; see :func:`portbev.ops.dropout`."""
    from portbev_triton.source.dropout import dropout_kernel

    input, p, seed, site, step, first = call
    begin, skipped = divmod(first, 4)
    values = input.contiguous()
    out, kept = torch.empty_like(values), torch.empty(values.shape, dtype=torch.bool, device=values.device)
    elements, scale = values.numel(), 1.0 / (1.0 - p) if p < 1 else 0.0
    arguments = (values, out, kept.view(torch.int8), elements, scale, threshold(p), seed, site, step, begin)
    words = skipped + elements if elements else 0
    launch(
        "dropout",
        dropout_kernel,
        lambda c: (-(-words // c["BLOCK"]),),
        *arguments,
        operator="dropout",
        like=values,
        SKIPPED=skipped,
    )
    return out, kept


def variants() -> Iterator[Variant]:
    """What is compiled ahead, to look at: each dtype."""
    from portbev_triton.source.dropout import dropout_kernel

    for dtype in DTYPES:
        signature = {"input": f"*{dtype}", "out": f"*{dtype}", "kept": "*i8", "elements": "i32", "scale": "fp32"}
        signature |= {"limit": "i64", "seed": "i64", "site": "i32", "step": "i32", "begin": "i64"}
        yield Variant("dropout", dtype, dropout_kernel, signature, {"SKIPPED": 0})


KERNELS = (Kernel("dropout", TRITON, forward, backends=BACKENDS, supports=supports, priority=20, probe=probe),)
