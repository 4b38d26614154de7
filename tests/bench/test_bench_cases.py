"""The calls that are measured are those that models make, and their bytes and FLOPs are what the arithmetic needs."""

from __future__ import annotations

import math

import pytest
import torch

from portbev.bench.cases import Case, find_cases, heavy, merge, trace_model
from portbev.bench.models import bench_models, config_names
from portbev.bench.roofline import SHEETS
from portbev.bench.sketches import SKETCHES, sketch_of, values
from portbev.bench.traffic import Work, traffic
from portbev.errors import ConfigError, PortbevError
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.dropout import DropoutCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.operator import OPERATORS
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev.opscheck.small import cases as small_calls

CPU = torch.device("cpu")


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def on_meta(call: object) -> object:
    """A call without values but for counts, which belong to the host."""
    fields = call._asdict()  # type: ignore[attr-defined]
    tensors = {k: v.to("meta") for k, v in fields.items() if isinstance(v, torch.Tensor) and k != "counts"}
    return call._replace(**tensors)  # type: ignore[attr-defined]


def test_every_operator_has_a_sketch_and_no_sketch_is_left_over() -> None:
    assert set(SKETCHES) == set(OPERATORS)


def test_an_operator_without_a_sketch_is_named_with_the_place_to_add_one() -> None:
    with pytest.raises(PortbevError, match=r"warp: .*no sketch\. Add one in portbev/bench/sketches\.py"):
        sketch_of("warp")


@pytest.mark.parametrize("case", small_calls(), ids=lambda case: f"{case.operator}, {case.name}")
def test_values_make_a_call_that_the_operator_takes(case: object) -> None:
    operator, call = case.operator, case.call  # type: ignore[attr-defined]
    filled = values(operator, on_meta(call), {}, CPU, torch.float32)
    out = OPERATORS[operator](filled)
    out = out[0] if isinstance(out, tuple) else out
    assert out.isfinite().all()
    assert float(out.abs().max()) > 0  # samples are inside, points in the grid


def test_attention_over_the_visible_rows_of_a_layer_moves_378_megabytes() -> None:
    pixels = sum(h * w for h, w in ((116, 200), (58, 100), (29, 50), (15, 25)))
    rows, shapes = 46_061, [116, 200, 58, 100, 29, 50, 15, 25]
    call = MsDeformAttnCall(
        empty(6, pixels, 8, 32),
        empty(rows, 8, 4, 8, 2),
        empty(rows, 8, 4, 8),
        torch.tensor([rows, 0, 0, 0, 0, 0]),
        shapes,
    )
    found = traffic("ms_deform_attn", call, ("value", "locations", "weights"))
    assert round(found.forward.bytes / 1e6) == 378
    assert found.backward is not None
    once = found.forward.bytes - rows * 256 * 4  # read again, and as much written as gradients
    assert found.backward.bytes == pytest.approx(2 * once + rows * 256 * 4, abs=100)


def test_a_convolution_s_flops_are_those_of_its_product_of_matrices_and_its_samples() -> None:
    one = [1, 1]
    call = DeformConv2dCall(
        empty(2, 16, 5, 6), empty(2, 18, 5, 6), empty(8, 16, 3, 3), None, None, one, one, one, groups=1, deform_groups=1
    )
    product, samples = 2 * 2 * 30 * 8 * 16 * 9, 2 * 30 * 16 * 9
    assert traffic("deform_conv2d", call, ()).forward.flops == product + 8 * samples
    trained = traffic("deform_conv2d", call, ("input", "offset", "weight")).backward
    assert trained is not None and trained.flops > 2 * product


def test_lift_reads_each_tensor_once_and_writes_the_grid_once() -> None:
    call = VoxelPoolLiftCall(
        empty(1, 2, 4, 3, 5), empty(1, 2, 8, 3, 5), empty(1, 2, 4, 3, 5, 3, dtype=torch.int32), [7, 6, 1]
    )
    found = traffic("voxel_pool_lift", call, ("depth", "context"))
    assert found.forward == Work(4 * (120 + 240 + 360 + 42 * 8), 2 * 120 * 8)


def test_dropout_keeps_one_byte_an_element_for_its_backward() -> None:
    found = traffic("dropout", DropoutCall(empty(10, 10), 0.5, 1, 2, 3), ("input",))
    assert found.forward.bytes == 100 * (4 + 4 + 1)
    assert found.backward is not None and found.backward.bytes == 100 * (4 + 1 + 4)


def test_the_least_time_is_that_of_the_scarcer_of_bytes_and_flops() -> None:
    sheet = SHEETS[0]
    assert sheet.seconds(Work(int(3.35e12), 0), "float32", matrix=False) == pytest.approx(1.0)
    assert sheet.bound(Work(1, int(1e12)), "float16", matrix=True) == "FLOPs"
    assert sheet.seconds(Work(0, int(989e12)), "float16", matrix=True) == pytest.approx(1.0)
    assert sheet.seconds(Work(0, int(67e12)), "float16", matrix=False) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def lifted() -> list[Case]:
    return trace_model("bevdepth/tiny_test")


def test_cells_of_a_traced_call_are_the_model_s_own_and_not_random(lifted: list[Case]) -> None:
    (case,) = (case for case in lifted if case.operator == "voxel_pool_lift")
    voxels = case.known["voxels"]
    assert voxels.shape == case.call.voxels.shape
    size = torch.tensor(case.call.size)
    inside = ((voxels >= 0) & (voxels < size)).all(-1)
    assert 0.5 < inside.float().mean() < 1  # of what six cameras around a car see
    neighbours = (voxels[..., 1:, :, :, :] - voxels[..., :-1, :, :, :]).abs().max()
    assert int(neighbours) <= 2  # bins of a ray follow one another


def test_a_traced_call_says_which_gradients_a_step_takes(lifted: list[Case]) -> None:
    trained = {case.operator: case.trained for case in lifted}
    assert trained["voxel_pool_lift"] == ("depth", "context")
    assert trained["deform_conv2d"] == ("input", "offset", "weight")


def test_frames_of_the_past_take_no_gradient() -> None:
    found = trace_model(
        "bevdepth/tiny_test", ["model.key_frames=2", "data.sweeps=[0,1]", "model.depth_aggregation=true"]
    )
    (pooled,) = (case for case in found if case.operator == "voxel_pool")
    assert pooled.models == {"bevdepth/tiny_test": 2}  # the same shapes, once with and once without gradient
    assert pooled.trained == ("features",)


def test_calls_of_equal_cost_are_one_case_with_the_number_of_calls() -> None:
    def drop(step: int, trained: tuple[str, ...]) -> Case:
        return Case("dropout", DropoutCall(empty(4, 4), 0.5, 1, 2, step), trained)

    (one,) = merge([drop(1, ()), drop(2, ("input",)), drop(3, ())], "model")
    assert (one.models, one.trained) == ({"model": 3}, ("input",))
    assert merge([one, Case("dropout", one.call, (), models={"other": 2})])[0].models == {"model": 3, "other": 2}


def test_calls_that_move_few_of_an_operator_s_bytes_are_left_out() -> None:
    many = [Case("dropout", DropoutCall(empty(n), 0.5, 1, 2, 3), (), models={"m": 1}) for n in (10_000, 100)]
    assert heavy(many, "m", 0.05) == many[:1]
    assert heavy(many, "m", 0.0) == many


def test_the_families_offer_official_and_quick_configurations_that_exist() -> None:
    assert len(bench_models()) >= 3
    assert all(math.isfinite(case.traffic().forward.flops) for case in find_cases(config_names(quick=True)[:1]))
    assert set(config_names(quick=True)).isdisjoint(config_names(quick=False))


def test_a_family_that_offers_no_batches_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portbev.bench.models.bench_models", dict)
    with pytest.raises(ConfigError, match="offers no batches to measure with"):
        trace_model("bevdepth/tiny_test")
