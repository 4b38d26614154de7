"""The variants as wholes: shapes, gradients, quirks, bad input, checkpoints."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from bevdepth_cases import make_batch, small

from portbev.config import ComputeSection
from portbev.errors import CheckpointError, ConfigError, DataError
from portbev.models import MeanOverRanks, move_batch
from portbev.nn.derived import derived_buffers
from portbev.nn.pretrained import load_resnet
from portbev_bevdepth.checkpoint import export_state
from portbev_bevdepth.depthnet import ASPP
from portbev_bevdepth.family import BevDepthFamily
from portbev_bevdepth.geometry import Geometry, camera_vector
from portbev_bevdepth.losses import box_loss, depth_loss, heatmap_loss
from portbev_bevdepth.model import BEVDepth
from portbev_bevdepth.rays import ring_and_ray
from portbev_bevdepth.targets import TaskTarget
from portbev_cpu import conv_gradients
from portbev_cpu.backend import CpuBackend

VARIANTS: dict[str, dict[str, Any]] = {
    "one key frame": {},
    "two key frames": {"key_frames": 2},
    "depth aggregation": {"key_frames": 2, "depth_aggregation": True},
    "matrixvt": {"variant": "matrixvt"},
    "fixed matrixvt": {"variant": "matrixvt", "quirks": "fixed", "y_bound": (-25.6, 25.6, 3.2)},
    "downsample 8": {"downsample": 8},
    "plain depth net": {"depth_net": {"mid_channels": 8, "blocks": 0, "use_aspp": False, "use_dcn": False}},
}


def build(**changes: Any) -> BEVDepth:
    torch.manual_seed(0)
    model = BevDepthFamily().build(small(**changes))
    assert isinstance(model, BEVDepth)
    return model


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_trains_all_its_parameters_and_decodes(name: str) -> None:
    model = build(**VARIANTS[name]).train()
    batch = make_batch(model.config)
    outputs = model(batch)
    losses = model.losses(outputs, batch)
    assert set(losses) == {"heatmap", "box", "depth"}
    torch.stack(list(losses.values())).sum().backward()
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle
    found = model.decode(outputs, batch)
    assert len(found) == 2 and all(f.boxes.shape == (len(f.scores), 9) for f in found)


def prepared(changes: dict[str, Any] | None = None, **compute: Any) -> BEVDepth:
    """The small model as the cpu backend prepares it."""
    model = build(**(changes or {}))
    assert CpuBackend().prepare_model(model, ComputeSection(**compute)) == []
    return model


def test_the_memory_format_changes_only_rounding() -> None:
    plain, last = build().eval(), prepared(memory_format="channels_last").eval()
    batch = make_batch(plain.config)
    with torch.no_grad():
        for ours, theirs in zip(plain(batch).tasks, last(batch).tasks, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_way_to_weight_gradients_changes_only_their_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_gradients, "LARGE", 0)
    found = []
    for way in ("torch", "avx2"):
        model = prepared(memory_format="channels_last", weight_gradients=way).train()
        batch = make_batch(model.config)
        loss = torch.stack(list(model.losses(model(batch), batch).values())).sum()
        loss.backward()
        found.append((loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    assert any(isinstance(module, conv_gradients.Avx2Conv2d) for module in model.modules())
    (loss, torchs), (same, ours) = found
    assert torch.equal(loss, same)
    assert torchs.keys() == ours.keys()
    scale = torch.stack([g.norm() for g in torchs.values()]).max()
    for name, gradient in torchs.items():
        assert (gradient - ours[name]).norm() <= 1e-5 * gradient.norm() + 1e-7 * scale, name


@pytest.mark.parametrize("name", VARIANTS)
def test_pooling_does_not_put_the_head_into_another_memory_format(name: str) -> None:
    model = build(**VARIANTS[name]).eval()
    seen: list[torch.Tensor] = []
    model.head.trunk.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    with torch.no_grad():
        model(make_batch(model.config))
    assert seen[0].is_contiguous()


def test_without_lidar_there_is_no_depth_loss() -> None:
    model = build()
    batch = make_batch(model.config)
    batch["depth"] = None
    assert set(model.losses(model(batch), batch)) == {"heatmap", "box"}


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = build().state_dict(), build().state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_earlier_sweeps_give_statistics_but_no_gradient() -> None:
    model = build(key_frames=2).train()
    batch = make_batch(model.config)
    batch["images"].requires_grad_()
    model(batch).tasks[0]["reg"].sum().backward()
    assert batch["images"].grad is not None
    assert batch["images"].grad[:, 0].any() and not batch["images"].grad[:, 1].any()
    assert int(model.backbone.img_backbone.layer1[0].bn1.num_batches_tracked) == 2


@pytest.mark.parametrize("quirks", ["official", "fixed"])
@pytest.mark.parametrize("variant", ["bevdepth", "matrixvt"])
def test_a_batch_that_a_worker_prepared_gives_the_same_bits(quirks: str, variant: str) -> None:
    model = build(key_frames=1 if variant == "matrixvt" else 2, quirks=quirks, variant=variant)
    batch = make_batch(model.config)
    prepare = pickle.loads(pickle.dumps(model.preparation(training=True)))
    prepared: Any = move_batch({**batch, "prepared": prepare(batch)}, torch.device("cpu"))  # type: ignore[typeddict-item]
    nowhere = {name: value * torch.nan for name, value in batch["mats"].items()}  # not looked at again
    with torch.no_grad():
        there = model.losses(model({**prepared, "mats": nowhere}), {**prepared, "boxes": None})
        here = model.losses(model(batch), batch)
    assert there == here
    moved = move_batch(prepared, torch.device("meta"))["prepared"]
    assert moved.sweeps[-1].places[0].device.type == moved.targets[0].heatmap.device.type == "meta"
    assert moved.targets[0].peaks == 2.0


def test_the_normalisers_of_all_tasks_are_averaged_in_one_exchange() -> None:
    model = build()
    batch = make_batch(model.config)
    asked: list[list[float]] = []

    def doubled(values: Sequence[float]) -> list[float]:
        asked.append(list(values))
        return [2 * value for value in values]

    with torch.no_grad():
        outputs = model(batch)
        together = model.losses(outputs, batch, mean_over_ranks=MeanOverRanks(doubled))
        one_by_one = model.losses(outputs, batch, mean_over_ranks=lambda value: 2 * value)
        alone = model.losses(outputs, batch)
    assert len(asked) == 1 and len(asked[0]) == 2 * len(model.config.head.tasks)
    assert together == one_by_one != alone


@pytest.mark.parametrize(("quirks", "told"), [("official", [0, 0]), ("fixed", [0, 1])])
def test_camera_vector_of_earlier_sweeps(quirks: str, told: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(key_frames=2, quirks=quirks).eval()
    batch = make_batch(model.config)
    seen: list[torch.Tensor] = []
    model.backbone.depth_net.bn.register_forward_hook(lambda _m, given, _o: seen.append(given[0]))
    with torch.no_grad():
        model(batch)
    for vector, sweep in zip(seen, told, strict=True):
        assert torch.equal(vector, camera_vector(batch["mats"], sweep))


@pytest.mark.parametrize(("quirks", "cell"), [("official", 0), ("fixed", -1)])
def test_points_just_outside_the_lower_edge(quirks: str, cell: int) -> None:
    geometry = Geometry(small(quirks=quirks))
    cells = geometry.grid_coordinates(torch.tensor([[-52.0, 0.0, 0.0]], dtype=geometry.dtype))
    assert int(geometry.cell_indices(cells)[0, 0]) == cell


def test_official_float32_geometry_is_near_float64() -> None:
    batch = make_batch(small())
    single, double = (Geometry(small(quirks=q)).frustum_points(batch["mats"], 0) for q in ("official", "fixed"))
    assert single.dtype == torch.float32 and double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, atol=1e-4, rtol=0)


def test_a_point_lands_where_its_camera_looks() -> None:
    geometry = Geometry(small(quirks="fixed"))
    points = geometry.frustum_points(make_batch(small())["mats"], 0)
    middle = points[0, 0, 3, 2]  # 26 m ahead of a camera that looks along x from (1, 0, 1.5)
    torch.testing.assert_close(middle[:, 0], torch.full((6,), 27.0, dtype=torch.float64))
    assert (middle[:-1, 1] > middle[1:, 1]).all()  # image left is ego left


@pytest.mark.parametrize("quirks", ["official", "fixed"])
def test_ring_and_ray_equal_a_loop_over_points(quirks: str) -> None:
    config = small(variant="matrixvt", quirks=quirks)
    geometry, mats = Geometry(config), make_batch(config)["mats"]
    cells = geometry.grid_coordinates(geometry.frustum_points(mats, 0)).mean(dim=3)[0].permute(0, 2, 1, 3).flatten(0, 1)
    side = config.bev_size[0]
    ring, ray = np.zeros((7, side**2)), np.zeros((len(cells), side**2))
    for column, depths in enumerate(cells):
        for depth, point in enumerate(depths):
            x, y = (int(v) if quirks == "official" else int(np.floor(float(v))) for v in point[:2])
            if 0 <= x < side and 0 <= y < side:
                ring[depth, y * side + x] += 1
                ray[column, y * side + x] += 1
    if quirks == "official":
        ring, ray = np.minimum(ring, 1), np.minimum(ray, 1)
        ring[:, side // 2 * (side + 1)] = ray[:, side // 2 * (side + 1)] = 0
    else:
        ring, ray = (m / np.maximum(m.max(axis=0), 1) for m in (ring, ray))
    found = ring_and_ray(geometry, mats, 0)
    np.testing.assert_allclose(found[0][0], ring, rtol=1e-6)
    np.testing.assert_allclose(found[1][0], ray, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "bias"),
    [({"quirks": "fixed"}, -2.19), ({"head": {"heatmap_bias": -1.0}}, -1.0), ({}, None)],
)
def test_first_heatmap_bias(changes: dict[str, Any], bias: float | None) -> None:
    head = {**small().head.model_dump(), **changes.get("head", {})}
    found = build(**{**changes, "head": head}).head.task_heads[0].heatmap[1].bias
    assert (found == bias).all() if bias is not None else (found.abs() < 0.5).all()


def test_pooled_aspp_branch_equals_spreading_it_out() -> None:
    torch.manual_seed(0)
    aspp = ASPP(4, 0.0).double().eval()
    x = torch.randn(2, 4, 8, 12, dtype=torch.float64)
    maps = [aspp.aspp1(x), aspp.aspp2(x), aspp.aspp3(x), aspp.aspp4(x), aspp.global_avg_pool(x).expand_as(x)]
    torch.testing.assert_close(aspp(x), aspp.bn1(aspp.conv1(torch.cat(maps, dim=1))).relu())


def test_gradients_of_the_losses() -> None:
    torch.manual_seed(0)
    names = {"reg": 2, "height": 1, "dim": 3, "rot": 2, "vel": 2, "heatmap": 2}
    output = {n: torch.randn(1, c, 3, 4, dtype=torch.float64, requires_grad=True) for n, c in names.items()}
    target = TaskTarget(
        torch.rand(1, 2, 3, 4).double().round(decimals=1), torch.randn(1, 2, 10).double(), torch.tensor([[5, 0]]),
        torch.tensor([[1.0, 0.0]]).double(), 1.0, 1.0,
    )  # fmt: skip
    plain = [v for n, v in output.items() if n != "heatmap"]

    def boxes(*parts: torch.Tensor) -> torch.Tensor:
        return box_loss(dict(zip(list(names)[:5], parts, strict=True)), target, 1.0, torch.ones(10))

    def heat(logits: torch.Tensor) -> torch.Tensor:
        return heatmap_loss({"heatmap": logits}, target, 1.0)

    assert torch.autograd.gradcheck(boxes, plain)
    assert torch.autograd.gradcheck(heat, [output["heatmap"]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_leaves_depth_and_head_in_float32(dtype: torch.dtype) -> None:
    model = build().train()
    batch = make_batch(model.config)
    with torch.autocast("cpu", dtype=dtype):
        outputs = model(batch)
        losses = model.losses(outputs, batch)
    assert {outputs.depth.dtype, outputs.tasks[0]["heatmap"].dtype, *(v.dtype for v in losses.values())} == {
        torch.float32
    }
    exact = model.losses(model(batch), batch)
    assert all(float(losses[k]) == pytest.approx(float(exact[k]), rel=0.1) for k in exact)


def test_depth_loss_by_hand() -> None:
    config = small()
    depth = torch.zeros(1, 1, 64, 96)
    depth[0, 0, 0, 0] = 11.0  # bin 1 of 7
    probability = torch.full((1, 7, 4, 6), 0.1)
    expected = 3 * -(np.log(0.1) + 6 * np.log(0.9))
    assert float(depth_loss(config, probability, depth)) == pytest.approx(expected, rel=1e-5)
    assert float(depth_loss(config, probability, torch.zeros_like(depth))) == 0


def test_normalisers_are_averaged_over_ranks() -> None:
    model = build()
    batch = make_batch(model.config)
    with torch.no_grad():
        outputs = model(batch)
    alone = model.losses(outputs, batch)
    apart = model.losses(outputs, batch, mean_over_ranks=lambda value: 2 * value)
    assert float(apart["box"]) == pytest.approx(float(alone["box"]) / 2, rel=1e-4)
    assert float(apart["depth"]) == float(alone["depth"])


def test_an_exported_state_is_imported_again() -> None:
    source, target = build(), build()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1)
    imported = BevDepthFamily().import_state({"epoch": 3, **export_state(source)}, target)
    target.load_state_dict(imported.state)
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    )
    assert imported.notes == ["epoch 3"]


def test_a_foreign_checkpoint_lists_its_keys() -> None:
    model = build()
    state = export_state(model)["state_dict"]
    state["model.head.extra"] = torch.zeros(1)
    del state["model.head.shared_conv.conv.weight"]
    state["model.backbone.frustum"] = torch.zeros(1, 2, 3, 4)  # computed from the configuration: blocks nothing
    state["model.head.task_heads.0.heatmap.1.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as caught:
        BevDepthFamily().import_state({"state_dict": state}, model)
    said = str(caught.value)
    assert "1 missing (head.shared_conv.conv.weight)" in said
    assert "1 unexpected (head.extra)" in said
    assert "1 misshaped (head.task_heads.0.heatmap.1.bias (3,) for (1,))" in said
    assert "other classes in a task (3 there, 1 here: model.head.tasks)" in said
    assert "frustum" not in said


def test_a_grid_of_another_configuration_is_computed_anew() -> None:
    """Another BEV range or image size: the same weights, and the buffers of the model's own configuration."""
    source, target = build(x_bound=(-51.2, 51.2, 6.4), y_bound=(-51.2, 51.2, 6.4), final_size=(96, 128)), build()
    grid = {key: value.clone() for key, value in target.state_dict().items() if key in derived_buffers(target)}
    assert grid.keys() == {f"backbone.{name}" for name in ("voxel_size", "voxel_coord", "voxel_num", "frustum")}
    imported = BevDepthFamily().import_state(export_state(source), target)
    target.load_state_dict(imported.state)
    for key, value in target.state_dict().items():
        assert torch.equal(value, grid.get(key, source.state_dict()[key])), key
    assert target.backbone.voxel_size[:2].tolist() == pytest.approx([3.2, 3.2])
    (note,) = imported.notes
    assert "backbone.voxel_size" in note and "backbone.frustum" in note


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"d_bound": (2.0, 58.0, 4.0)}, "another number of depth bins (14 there, 7 here: model.d_bound)"),
        ({"image_backbone": {"depth": 34, "base_channels": 8}}, "img_backbone is a ResNet-34 there and a ResNet-18"),
        ({"key_frames": 2}, "other BEV channels (16 there, 8 here"),
    ],
)
def test_what_differs_in_the_configuration_is_named(changes: Any, said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        BevDepthFamily().import_state(export_state(build(**changes)), build())
    assert said in str(caught.value)


def test_reordered_classes_are_named() -> None:
    names = [name for task in small().head.tasks for name in task]
    content = {**export_state(build()), "hyper_parameters": {"class_names": [names[1], names[0], *names[2:]]}}
    (note,) = BevDepthFamily().import_state(content, build()).notes
    assert "same classes at other places (car 1 there, 0 here, truck 0 there, 1 here)" in note


def test_a_checkpoint_without_weights() -> None:
    with pytest.raises(CheckpointError, match="no weights"):
        BevDepthFamily().import_state({"epoch": 3}, build())


def test_image_backbone_starts_from_torchvision_weights(tmp_path: Any) -> None:
    model, donor = build(), build(image_backbone={"depth": 18, "base_channels": 8, "zero_init_residual": False})
    state = donor.backbone.img_backbone.state_dict()
    torch.save({**state, "fc.weight": torch.zeros(2, 2)}, tmp_path / "resnet.pth")
    load_resnet(model.backbone.img_backbone, str(tmp_path / "resnet.pth"))
    assert all(torch.equal(v, state[k]) for k, v in model.backbone.img_backbone.state_dict().items())
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"broken\.pth"):
        load_resnet(model.backbone.img_backbone, str(tmp_path / "broken.pth"))


def test_images_of_another_size_are_told() -> None:
    model = build()
    batch = make_batch(small(final_size=(96, 96)))
    with pytest.raises(DataError, match="96x96"):
        model(batch)
    with pytest.raises(DataError, match="key frames"):
        model(make_batch(small(key_frames=2)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"final_size": (60, 96)}, "multiples of 32"),
        ({"variant": "matrixvt", "key_frames": 2}, "one key frame"),
        ({"x_bound": (-51.2, 51.2, 5.12)}, "multiple of 8"),
        ({"head": {"tasks": (("car",), ("lorry",))}}, "head.tasks"),
        ({"decode": {"min_radius": (1.0,)}}, "1 values for 6 tasks"),
        ({"head": {"neck_channels": (4, 4)}}, "neck_channels"),
        ({"d_bound": (2.0, 1.0, 0.5)}, "d_bound"),
    ],
)
def test_configurations_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    from portbev.config.load import load_config

    raw = {
        "name": "x",
        "model": {"family": "bevdepth", **small().model_dump(mode="json"), **changes},
        "data": {},
    }
    with pytest.raises(ConfigError, match=said):
        load_config(raw)
