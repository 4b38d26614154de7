"""Who serves every call of the official configurations, traced from the models at their full sizes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT, DOCUMENT = ROOT / "benchmarks" / "npu_providers.py", ROOT / "docs" / "npu-kernels.md"
PLAIN = {("voxel_pool", "backward"): "reference", ("fft", "forward"): "matrix_dft"}
"""What mx_driving has no function for, or none that is better than plain torch; who serves it."""

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the benchmarks are not part of this installation")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("npu_providers", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["npu_providers"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(script: ModuleType) -> list[Any]:
    return list(script.rows(script.official()))


def test_mx_driving_serves_every_call_that_it_has_a_function_for(rows: list[Any]) -> None:
    for row in rows:
        for direction, provider in row.served.items():
            assert provider == PLAIN.get((row.operator, direction), "mx_driving"), row


def test_every_provider_passed_over_has_its_reason(rows: list[Any]) -> None:
    passed = {(row.operator, *entry) for row in rows for entry in row.passed}
    assert passed == {
        ("voxel_pool", "backward", "mx_driving", "has no backward"),
        ("fft", "always", "torch_npu", "this torch_npu registers no aten::_fft_c2c"),
    }


def test_each_family_calls_the_operators_that_it_is_known_for(script: ModuleType, rows: list[Any]) -> None:
    called = {(row.family, row.operator, direction) for row in rows for direction in row.served}
    both = ("forward", "backward")
    known = {("bevdepth", name) for name in ("deform_conv2d", "voxel_pool", "voxel_pool_lift")}
    known |= {("bevformer", "deform_conv2d"), ("bevformer", "ms_deform_attn"), ("echofusion", "ms_deform_attn")}
    assert called == {(*pair, direction) for pair in known for direction in both} | {("echofusion", "fft", "forward")}
    assert {name for row in rows for name in row.configs} == set(script.official())


def test_the_documents_table_is_what_the_models_call_today(script: ModuleType, rows: list[Any]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    made = script.replaced(text, script.table(rows, script.official()))
    assert made == text, "python benchmarks/npu_providers.py --into docs/npu-kernels.md"


def test_a_call_outside_a_limit_goes_to_the_next_provider_with_the_reason(script: ModuleType) -> None:
    """The pytorch style has the stride in the deformable convolution, which the wheels compute as if it were 1."""
    config = script.load_config(
        str(script.CONFIGS / "bevformer" / "small.yaml"), ["model.image_backbone.style=pytorch", "data.queue_length=1"]
    )
    found = {}
    for traced in script.traced_on_the_npu(config):
        if traced.operator == "deform_conv2d" and traced.call.stride == [2, 2]:
            found[traced.call.input.shape[1], traced.direction] = script.choose(traced)
    assert set(found) == {(channels, direction) for channels in (256, 512) for direction in ("forward", "backward")}
    for (channels, direction), (provider, passed) in found.items():
        assert provider == "torch_npu"
        what = f"stride (2, 2) with a mask and {channels} input channels; mx_driving computes as if it were 1"
        assert passed == [(direction, "mx_driving", what)]
