"""The portable operators written out for exports compute what their definitions say, and have forms in ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from portbev.errors import ExportError
from portbev.export import composed, engines
from portbev.ops import deform_attn, deform_conv2d, fft, ms_deform_attn, voxel_pool, voxel_pool_lift
from portbev.ops.deform_attn import DEFORM_ATTN, DeformAttnCall
from portbev.ops.deform_conv2d import DEFORM_CONV2D, DeformConv2dCall
from portbev.ops.ms_deform_attn import MS_DEFORM_ATTN, MsDeformAttnCall
from portbev.ops.voxel_pool import VOXEL_POOL, VoxelPoolCall
from portbev.ops.voxel_pool_lift import VOXEL_POOL_LIFT, VoxelPoolLiftCall

D = torch.float64
SHAPES = [(5, 4), (3, 2)]
FLAT = [5, 4, 3, 2]
few = settings(max_examples=15, deadline=None)


def near(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@few
@given(
    groups=st.sampled_from([1, 2]),
    moved=st.sampled_from([1, 2]),
    masked=st.booleans(),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_deform_conv2d_is_its_definition(
    groups: int, moved: int, masked: bool, stride: int, padding: int, dilation: int, seed: int
) -> None:
    torch.manual_seed(seed)
    height, width = 9, 6
    out = [(size + 2 * padding - 2 * dilation - 1) // stride + 1 for size in (height, width)]
    call = DeformConv2dCall(
        torch.randn(2, 4, height, width, dtype=D),
        3 * torch.randn(2, 18 * moved, *out, dtype=D),
        torch.randn(6, 4 // groups, 3, 3, dtype=D),
        torch.rand(2, 9 * moved, *out, dtype=D) if masked else None,
        torch.randn(6, dtype=D) if masked else None,
        [stride] * 2,
        [padding] * 2,
        [dilation] * 2,
        groups,
        moved,
    )
    near(composed.deform_conv2d(call), DEFORM_CONV2D.definition(call))


@few
@given(
    seed=st.integers(0, 99), per_level=st.booleans(), levels=st.sampled_from([1, 2]), anchors=st.sampled_from([1, 2])
)
def test_deform_attn_is_its_definition(seed: int, per_level: bool, levels: int, anchors: int) -> None:
    torch.manual_seed(seed)
    call = DeformAttnCall(
        torch.randn(2, 26, 3, 4, dtype=D),
        2 * torch.randn(12, 3, 2, 4, 2, dtype=D),
        torch.randn(12, 3, 2, 4, dtype=D),
        torch.rand(12, levels, anchors, 2, dtype=D) * 1.4 - 0.2,
        None,
        torch.tensor([6, 6]),
        FLAT,
        per_level,
        False,
    )
    near(composed.deform_attn(call), DEFORM_ATTN.definition(call))


@few
@given(seed=st.integers(0, 99))
def test_rows_that_name_their_image_sample_as_rows_sorted_by_image(seed: int) -> None:
    torch.manual_seed(seed)
    value, weights = torch.randn(2, 26, 3, 4, dtype=D), torch.rand(7, 3, 2, 4, dtype=D)
    locations = torch.rand(7, 3, 2, 4, 2, dtype=D) * 1.6 - 0.3
    call = MsDeformAttnCall(value, locations, weights, torch.tensor([3, 4]), FLAT)
    image = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    near(composed.gathered_attn(value, SHAPES, locations, weights, image), MS_DEFORM_ATTN.definition(call))
    shuffle = torch.randperm(7)
    moved = composed.gathered_attn(value, SHAPES, locations[shuffle], weights[shuffle], image[shuffle])
    near(moved, MS_DEFORM_ATTN.definition(call)[shuffle])


@few
@given(seed=st.integers(0, 99))
def test_pooling_is_its_definition_also_for_points_outside(seed: int) -> None:
    torch.manual_seed(seed)
    size = [4, 3, 2]
    voxels = torch.randint(-2, 6, (2, 20, 3), dtype=torch.int32)
    points = VoxelPoolCall(torch.randn(2, 20, 5, dtype=D), voxels, size)
    near(composed.voxel_pool(points), VOXEL_POOL.definition(points))
    voxels = torch.randint(-2, 6, (2, 2, 3, 2, 2, 3), dtype=torch.int32)
    lifted = VoxelPoolLiftCall(torch.rand(2, 2, 3, 2, 2, dtype=D), torch.randn(2, 2, 5, 2, 2, dtype=D), voxels, size)
    near(composed.voxel_pool_lift(lifted), VOXEL_POOL_LIFT.definition(lifted))


class Everything(nn.Module):
    """Calls every portable operator that a model's inference calls."""

    def forward(self, image: Tensor, offset: Tensor, weight: Tensor, value: Tensor, voxels: Tensor) -> tuple[Any, ...]:
        convolved = deform_conv2d(image, offset, weight, padding=1)
        reference = (value[:, :6, :, 0].sigmoid()[:, :, :1, None, None] * torch.ones(2)).reshape(2, 6, 1, 1, 2)
        offsets = value[:, :6, :, :2].unsqueeze(3).unsqueeze(3).expand(2, 6, 3, 2, 4, 2)
        attended = deform_attn(value, SHAPES, offsets, offsets[..., 0], reference)
        weights = offsets[..., 0].flatten(3).softmax(-1).unflatten(3, (2, 4))
        sampled = ms_deform_attn(value, SHAPES, offsets.sigmoid(), weights)
        pooled = voxel_pool(value[:, :, 0], voxels[:, :, 0, 0, 0], (4, 3, 2))
        lifted = voxel_pool_lift(value[:, :, :1, :1, None], value[:, :, :, :1, None], voxels, (4, 3, 2))
        spectrum = torch.view_as_real(fft(torch.view_as_complex(value.unflatten(-1, (2, 2))), dim=1))
        return convolved, attended, sampled, pooled, lifted, spectrum


RESULTS = ("convolved", "attended", "sampled", "pooled", "lifted", "spectrum")


@pytest.fixture(scope="module")
def everything() -> tuple[Everything, dict[str, Tensor], Any]:
    """A module, its inputs, and what is traced of it."""
    torch.manual_seed(0)
    inputs = {
        "image": torch.randn(1, 2, 5, 5),
        "offset": torch.randn(1, 18, 5, 5),
        "weight": torch.randn(3, 2, 3, 3),
        "value": torch.randn(2, 26, 3, 4),
        "voxels": torch.randint(-1, 5, (2, 26, 1, 1, 1, 3), dtype=torch.int32),
    }
    module = Everything()
    return module, inputs, engines.traced(module, inputs, {})


def judged(engine: Any, module: nn.Module, inputs: dict[str, Tensor]) -> None:
    for change in (0.0, 0.7):  # other values than those that were traced
        moved = {name: x + change if x.is_floating_point() else x.flip(1) for name, x in inputs.items()}
        for found, wanted in zip(engine(moved).values(), module(*moved.values()), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_program_holds_no_operator_of_ours_and_computes_the_same(everything: Any, tmp_path: Path) -> None:
    module, inputs, program = everything
    assert not [name for name in engines.operators(program) if "portbev" in name]
    engines.write(program, "pt2", tmp_path / "x.pt2", list(inputs), RESULTS)
    judged(engines.open_engine("pt2", tmp_path / "x.pt2", list(inputs), RESULTS), module, inputs)


def test_onnx_runtime_computes_the_same(everything: Any, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    module, inputs, program = everything
    engines.write(program, "onnx", tmp_path / "x.onnx", list(inputs), RESULTS)
    judged(engines.open_engine("onnx", tmp_path / "x.onnx", list(inputs), RESULTS), module, inputs)


def test_an_operator_without_a_form_is_named() -> None:
    class Dropped(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            out, _ = torch.ops.portbev.dropout(x, 0.5, 1, 2, 3, 0)
            return (out,)

    with pytest.raises(ExportError, match=r"without a form in an export: portbev\.dropout"):
        engines.traced(Dropped(), {"x": torch.randn(3)}, {})
