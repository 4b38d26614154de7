"""BEVFormer as a whole: history, streams, batches, quirks, losses, decoding, precision, memory."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from bevformer_cases import build, frame, make_batch, one, small, total_loss
from pydantic import ValidationError
from torch import Tensor

from portbev.config import ComputeSection
from portbev.errors import DataError
from portbev.models import move_batch
from portbev_bevformer import head
from portbev_bevformer.model import BEVFormer
from portbev_cpu import conv_gradients
from portbev_cpu.backend import CpuBackend


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("quirks", ["official", "fixed"])
def test_every_trainable_parameter_learns_and_boxes_come_out(quirks: str) -> None:
    model, batch = build(quirks=quirks).train(), make_batch()
    outputs = model(batch)
    losses = model.losses(outputs, batch)
    assert set(losses) == {"loss_cls", "loss_bbox", "d0.loss_cls", "d0.loss_bbox"}
    torch.stack(list(losses.values())).sum().backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert all(g.isfinite().all() for g in gradients(model).values())
    found = model.decode(outputs, batch)
    assert len(found) == 2
    assert all(f.boxes.shape == (len(f.scores), 9) and 0 < len(f.scores) <= 20 for f in found)
    assert all((np.diff(f.scores) <= 0).all() for f in found)


def test_every_weight_has_a_gradient_where_no_camera_sees_a_cell_and_there_is_no_box() -> None:
    model, queue = build().train(), make_batch(objects=0)
    queue["lidar2img"] = np.zeros_like(queue["lidar2img"])
    assert sum(model.visible_pairs(queue, -1).counts) == 0
    total_loss(model, queue).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert all(g.isfinite().all() for g in gradients(model).values())


def test_history_has_no_gradient_and_a_stream_sees_what_training_saw() -> None:
    """Frame by frame in evaluation, and as a queue in training, the BEV and the boxes are the same."""
    model = build(image_backbone={"depth": 18, "base_channels": 8, "stages": [4], "frozen_norms": True})
    queue = make_batch(1, 3)
    queue["images"].requires_grad_()
    trained = model.train()(queue)
    trained.bev.sum().backward()
    gradient = queue["images"].grad
    assert gradient is not None and gradient[:, -1].abs().sum() > 0 and gradient[:, :-1].abs().sum() == 0
    model.eval().begin_stream()
    with torch.no_grad():
        for index in range(3):
            streamed = model(frame(queue, index, previous=f"frame {index - 1}" if index else ""))
    torch.testing.assert_close(streamed.bev, trained.bev, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(streamed.codes, trained.codes, rtol=1e-4, atol=1e-4)


def test_history_matters_and_a_new_scene_forgets_it() -> None:
    model, queue = build().eval(), make_batch(1, 2)
    with torch.no_grad():
        alone = model(frame(queue, 1)).bev
        model(frame(queue, 0))
        after = model(frame(queue, 1, previous="frame 0")).bev
        again = model(frame(queue, 1)).bev
    assert not torch.allclose(alone, after, atol=1e-3)
    assert torch.equal(alone, again)


def test_a_frame_out_of_order_is_refused_in_one_line() -> None:
    model, queue = build().eval(), make_batch(1, 3)
    with torch.no_grad():
        with pytest.raises(DataError, match="frame 1 continues frame 0, but none came before"):
            model(frame(queue, 1, previous="frame 0"))
        model(frame(queue, 0))
        with pytest.raises(DataError, match="frame 2 continues frame 1, but the last one was frame 0"):
            model(frame(queue, 2, previous="frame 1"))
        model.begin_stream()
        with pytest.raises(DataError, match="none came before"):
            model(frame(queue, 1, previous="frame 0"))
    with pytest.raises(ValueError, match="one frame at a time"):
        model(queue)


def test_fixed_a_sample_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    model, batch = build(image_backbone={"depth": 18, "base_channels": 8, "stages": [4]}).train(), make_batch(3, 3)
    batch["continues"][1] = False  # a scene change: sample 1 has no history
    batch["continues"][2, 1] = False  # and sample 2 has less
    together = model(batch)
    for index in range(3):
        alone = model(one(batch, index))
        torch.testing.assert_close(together.bev[index], alone.bev[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.logits[:, index], alone.logits[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quirk", ["visibility_lists", "temporal_concat"])
def test_official_quirks_of_batches_change_all_but_single_samples(quirk: str) -> None:
    backbone = {"depth": 18, "base_channels": 8, "stages": [4]}
    fixed = build(image_backbone=backbone).train()
    official = build(image_backbone=backbone, quirks={**small().quirks.model_dump(), quirk: "official"}).train()
    batch = make_batch(2, 2)
    assert torch.equal(fixed(one(batch, 0)).bev, official(one(batch, 0)).bev)
    assert not torch.allclose(fixed(batch).bev[1], official(batch).bev[1], atol=1e-4)


def test_padding_counts_as_image_only_officially() -> None:
    batch = make_batch(1, 1)
    seen = {}
    for choice in ("official", "fixed"):
        model = build(quirks={**small().quirks.model_dump(), "image_size": choice})
        seen[choice] = sum(model.visible_pairs(batch, 0).counts)
    whole = {**batch, "image_size": (32, 64)}
    assert sum(build().visible_pairs(whole, 0).counts) == seen["official"] >= seen["fixed"]  # type: ignore[arg-type]


def rotated(model: BEVFormer, bev: torch.Tensor, degrees: float) -> torch.Tensor:
    turn = model.preparation(training=False).turn(np.array([degrees]))
    return model.rotate(bev, torch.from_numpy(turn))


def test_the_official_turn_is_about_cell_100_and_the_fixed_one_about_the_middle() -> None:
    bev = torch.arange(48.0).view(1, 48, 1)
    turned = rotated(build(), bev, 180.0)
    assert torch.equal(turned, bev.flip(1))
    official = rotated(build(quirks="official"), bev, 180.0)
    assert torch.equal(official, torch.zeros_like(bev))  # all of it left the map
    assert torch.equal(rotated(build(quirks="official"), bev, 0.0), bev)


def test_without_objects_only_the_classes_learn() -> None:
    model, batch = build().train(), make_batch(2, 1, objects=0)
    losses = model.losses(model(batch), batch)
    assert losses["loss_bbox"] == 0 and losses["d0.loss_bbox"] == 0 and losses["loss_cls"] > 0
    torch.stack(list(losses.values())).sum().backward()


def test_an_object_without_velocity_is_found_but_teaches_no_box() -> None:
    model, batch = build().train(), make_batch(1, 1, objects=1)
    outputs = model(batch)
    known = model.losses(outputs, batch)
    batch["boxes"][0][:, 7:] = np.nan
    unknown = model.losses(outputs, batch)
    assert unknown["loss_bbox"] == 0 and known["loss_bbox"] > 0
    assert unknown["loss_cls"] == known["loss_cls"]


def test_classes_left_out_are_neither_learnt_nor_found() -> None:
    model, batch = build(classes=("pedestrian", "car")).train(), make_batch(2, 1)
    batch["labels"] = [np.array([0, 8, 5]), np.array([1, 2, 3])]
    outputs = model(batch)
    assert outputs.logits.shape[-1] == 2
    model.losses(outputs, batch)
    assert {int(label) for found in model.decode(outputs, batch) for label in found.labels} <= {0, 8}


def test_ranks_share_the_number_of_objects() -> None:
    model, batch = build().eval(), make_batch(1, 1)
    outputs = model(batch)
    alone = model.losses(outputs, batch)
    shared = model.losses(outputs, batch, mean_over_ranks=lambda value: 2 * value)
    torch.testing.assert_close(shared["loss_cls"] * 2, alone["loss_cls"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_trains_with_losses_near_those_of_float32(dtype: torch.dtype) -> None:
    model, batch = build().train(), make_batch(2, 2)
    exact = total_loss(model, batch).item()
    with torch.autocast("cpu", dtype=dtype):
        outputs = model(batch)
    assert outputs.logits.dtype == outputs.codes.dtype == torch.float32
    losses = model.losses(outputs, batch)
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    total = torch.stack(list(losses.values())).sum()
    assert total.item() == pytest.approx(exact, rel=0.05)
    total.backward()
    assert all(g.isfinite().all() for g in gradients(model).values())


def test_activation_checkpointing_changes_no_gradient() -> None:
    results = []
    for keep in (False, True):
        model = build(
            dropout=0.3,
            image_backbone={"depth": 18, "base_channels": 8, "stages": [4], "checkpointing": keep},
            encoder={"layers": 2, "spatial_points": 4, "checkpointing": keep},
        ).train()
        total_loss(model, make_batch()).backward()
        results.append(gradients(model))
    assert results[0].keys() == results[1].keys()
    for name, gradient in results[0].items():
        torch.testing.assert_close(gradient, results[1][name], rtol=1e-4, atol=1e-6)


def prepared(changes: dict[str, Any] | None = None, **compute: Any) -> BEVFormer:
    """The small model as the cpu backend prepares it."""
    model = build(**(changes or {}))
    assert CpuBackend().prepare_model(model, ComputeSection(**compute)) == []
    return model


def test_the_memory_format_changes_only_rounding() -> None:
    plain, last, batch = build().eval(), prepared(memory_format="channels_last").eval(), make_batch(1, 1)
    with torch.no_grad():
        torch.testing.assert_close(plain(batch).bev, last(batch).bev, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_way_to_weight_gradients_changes_only_their_rounding(
    checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv_gradients, "LARGE", 0)
    found = []
    image = {"depth": 18, "base_channels": 8, "stages": [4], "checkpointing": checkpointing}
    for way in ("torch", "avx2"):
        model = prepared({"image_backbone": image}, memory_format="channels_last", weight_gradients=way).train()
        total_loss(model, make_batch()).backward()
        found.append(gradients(model))
    assert any(isinstance(module, conv_gradients.Avx2Conv2d) for module in model.modules())
    scale = torch.stack([g.norm() for g in found[0].values()]).max()
    for name, gradient in found[0].items():
        assert (gradient - found[1][name]).norm() <= 1e-5 * gradient.norm() + 1e-7 * scale, name


def test_codes_of_boxes_and_back() -> None:
    boxes = make_batch(1, 1, objects=20)["boxes"][0]
    np.testing.assert_allclose(head.decode(head.encode(boxes)), boxes, rtol=1e-5, atol=1e-5)


def test_moving_a_batch_leaves_matrices_on_the_host() -> None:
    moved: Any = move_batch(make_batch(1, 1), torch.device("meta"))
    assert moved["images"].device.type == "meta" and isinstance(moved["lidar2img"], np.ndarray)


@pytest.mark.parametrize("quirks", ["official", "fixed"])
def test_a_batch_that_a_worker_prepared_gives_the_same_bits(quirks: str) -> None:
    model, batch = build(quirks=quirks).train(), make_batch(2, 3)
    batch["continues"][1, 1] = False
    prepare = pickle.loads(pickle.dumps(model.preparation(training=True)))
    prepared = move_batch({**batch, "prepared": prepare(batch)}, torch.device("cpu"))
    there, here = model(prepared), build(quirks=quirks).train()(batch)
    assert all(torch.equal(one, other) for one, other in zip(there, here, strict=True))
    assert {leaf.device.type for leaf in move_batch(prepared, torch.device("meta"))["prepared"][1:]} == {"meta"}
    # What the model takes of calibration and motion is what was prepared: it does not look at the rest again.
    blind = {**prepared, "lidar2img": prepared["lidar2img"] * np.nan, "can_bus": prepared["can_bus"] * np.nan}
    assert torch.equal(build(quirks=quirks).train()(blind).bev, here.bev)


def test_quirks_in_one_word_or_each() -> None:
    assert set(small(quirks="official").quirks.model_dump().values()) == {"official"}
    mixed = small(quirks={"rotation_center": "fixed"}).quirks
    assert mixed.rotation_center == "fixed" and mixed.image_size == "official"
    with pytest.raises(ValidationError, match="official, fixed, or a section"):
        small(quirks="both")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 18, "heads": 4}, "multiple of heads"),
        ({"encoder": {"spatial_points": 6}}, "multiple of encoder.anchors"),
        ({"levels": 1, "image_backbone": {"stages": [3, 4]}}, "at least the number"),
        ({"image_backbone": {"stages": [5]}}, "count from 1 to 4"),
        ({"classes": ["car", "cat"]}, "classes once each"),
        ({"point_cloud_range": [0, 0, 0, -1, 1, 1]}, "each first below its second"),
        ({"image_backbon": {}}, "Extra inputs"),
    ],
)
def test_bad_configurations_say_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small(**changes)
