"""Deformable attention on the npu backend: bit equality with the CPU, limits with their reasons, who serves instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kernel_inputs import attention_inputs, served

from portbev import ops
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.runtime import activate
from portbev_npu.kernels import ms_deform_attn

ATTENTION = {
    "as many queries each": ([30, 30], {}, {}, "mx_driving"),
    "a number of queries of its own": ([30, 0, 7, 41], {}, {}, "mx_driving"),
    "few queries": ([1, 0, 1], {}, {}, "mx_driving"),
    "deterministic": ([30, 0, 7, 41], {"deterministic": "required"}, {}, "emulated"),
    "odd heads": ([30, 0, 7, 41], {}, {"width": 5}, "mx_driving"),
    "many heads": ([30, 0, 7, 41], {}, {"heads": 9}, "emulated"),
    "no queries": ([0, 0], {}, {}, "emulated"),
    "the reference": ([30, 0, 7, 41], {"kernels": {"ms_deform_attn": "reference"}}, {}, "reference"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ATTENTION)
def test_ms_deform_attn_equals_the_cpu_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    counts, options, shape, provider = ATTENTION[name]
    value, *rest = attention_inputs(len(counts), sum(counts), **shape)
    found = []
    try:
        for name_of_backend in ("cpu", "npu"):
            backend = activate(name_of_backend, emulate=name_of_backend == "npu", **options)
            leaves = [t.to(backend.device()).requires_grad_() for t in (value.to(dtype), *rest)]
            out = ops.ms_deform_attn_ragged(leaves[0], [(5, 6), (2, 3)], leaves[1], leaves[2], counts)
            gradients = torch.autograd.grad(out.float().square().sum(), leaves)
            found.append([t.cpu() for t in (out, *gradients)])
        assert served("ms_deform_attn", "forward") == served("ms_deform_attn", "backward") == {provider}
    finally:
        activate("npu", emulate=True)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("options", "provider"),
    [
        ({}, "mx_driving"),
        ({"deterministic": "required"}, "emulated"),
        ({"kernels": {"all": "reference"}}, "reference"),
    ],
    ids=["default", "deterministic", "reference"],
)
def test_deform_attn_samples_by_the_vendor_and_equals_the_cpu_bit_for_bit(
    options: dict[str, Any], provider: str, dtype: torch.dtype
) -> None:
    counts, query = [30, 0, 7, 41], torch.arange(78) * 7 % 50
    value, places, logits = attention_inputs(4, 78)
    inputs = [value, 4 * places[:50], logits[:50], places[:, :1, 0, :1]]
    found = []
    try:
        for name in ("cpu", "npu"):
            backend = activate(name, emulate=name == "npu", **options)
            leaves = [t.to(dtype).to(backend.device()).requires_grad_() for t in inputs]
            numbers = query.to(backend.device())
            out = ops.deform_attn_ragged(leaves[0], [(5, 6), (2, 3)], *leaves[1:], numbers, counts)
            gradients = torch.autograd.grad(out.float().square().sum(), leaves)
            found.append([t.cpu() for t in (out, *gradients)])
        assert served("ms_deform_attn", "forward") == served("ms_deform_attn", "backward") == {provider}
    finally:
        activate("npu", emulate=True)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("value", "locations", "reason"),
    [
        ((1, 4, 2, 257), (5, 2, 1, 4, 2), "heads of 257 channels; mx_driving takes at most 256"),
        ((1, 4, 9, 8), (5, 9, 1, 4, 2), "9 heads; mx_driving documents at most 8"),
        ((1, 4, 2, 8), (5, 2, 1, 65, 2), "1 levels of 65 points; mx_driving takes at most 64 in all"),
        ((1, 4, 2, 8), (0, 2, 1, 4, 2), "empty input"),
    ],
)
def test_mx_driving_attention_says_its_limits(value: tuple[int, ...], locations: tuple[int, ...], reason: str) -> None:
    where = torch.empty(locations, device="meta")
    call = MsDeformAttnCall(torch.empty(value, device="meta"), where, where[..., 0], torch.tensor([5]), [2, 2])
    assert ms_deform_attn.supports(call) == reason


def test_mx_driving_attention_leaves_float64_to_others() -> None:
    value, locations, weights = (t.double() for t in attention_inputs(1, 3))
    call = MsDeformAttnCall(value, locations, weights, torch.tensor([3]), [5, 6, 2, 3])
    assert "float64" in str(ms_deform_attn.supports(call))
