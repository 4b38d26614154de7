"""EchoFusion as a whole: inputs, quirks, batches, losses, decoding, precision, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from echofusion_cases import build, gradients, make_batch, product, raw_samples, small, total_loss, write_table
from pydantic import ValidationError

from portbev.errors import DataError
from portbev.nn.dropout import prepare_dropout
from portbev_echofusion import head

INPUTS = ("rt", "rd", "ra", "adc", "pc")


@pytest.mark.parametrize("quirks", ["official", "fixed"])
@pytest.mark.parametrize("radar", INPUTS)
def test_every_parameter_learns_and_boxes_come_out(radar: str, quirks: str, tmp_path: Path) -> None:
    model = build(quirks=quirks, mirror=quirks, radar={"input": radar}).train()
    batch = make_batch(radar_product=radar, table=write_table(tmp_path / "table.npy"))
    outputs = model(batch)
    losses = model.losses(outputs, batch)
    assert set(losses) == {"loss_cls", "loss_bbox", "d0.loss_cls", "d0.loss_bbox"}
    torch.stack(list(losses.values())).sum().backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert all(g.isfinite().all() for g in gradients(model).values())
    found = model.decode(outputs, batch)
    assert all(f.boxes.shape == (len(f.scores), 9) and 0 < len(f.scores) <= 9 for f in found)
    assert all((np.diff(f.scores) <= 0).all() for f in found)


def test_without_a_camera_nothing_of_it_is_there_and_pictures_are_not_asked_for() -> None:
    model, batch = build(camera=False).train(), make_batch(images=None, calibration={}, image_size=(0, 0))
    assert not [name for name, _ in model.named_parameters() if name.startswith("img")]
    total_loss(model, batch).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None]


@pytest.mark.parametrize("radar", ["rt", "rd", "adc"])
def test_samples_and_their_spectra_are_the_same_input(radar: str) -> None:
    """What the device computes from raw samples is what the loader would have given."""
    model, raw = build(radar={"input": radar}).eval(), raw_samples(1)
    given = make_batch(1, radar=product(raw, radar.upper()), radar_kind=radar, radar_product=radar)
    with torch.no_grad():
        torch.testing.assert_close(
            model(make_batch(1, radar=raw, radar_product=radar)).codes, model(given).codes, rtol=1e-4, atol=1e-4
        )


def test_radar_and_camera_both_matter() -> None:
    model, batch = build().eval(), make_batch(1)
    with torch.no_grad():
        codes = model(batch).codes
        for change in ({"radar": raw_samples(1, seed=9)}, {"images": batch["images"] + 1}):
            assert not torch.allclose(model({**batch, **change}).codes, codes, atol=1e-4)


def test_a_wrong_radar_is_refused_in_one_line() -> None:
    batch = make_batch(1)
    with pytest.raises(DataError, match=r"data\.radar is 'rd', the model takes 'rt'"):
        build()({**batch, "radar_product": "rd"})  # raw samples, of which the model could have made anything
    with pytest.raises(DataError, match=r"radar maps are \(32, 32, 16\), the model takes \(64, 32, 16\)"):
        build(radar={"samples": 64})(batch)
    with pytest.raises(DataError, match="without pictures"):
        build()({**batch, "images": None})


def test_fixed_a_sample_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    model, batch = build().eval(), make_batch(2, shift=9.0)
    with torch.no_grad():
        together = model(batch).codes
        for index in range(2):
            one: Any = {
                **batch,
                "images": batch["images"][index : index + 1],  # type: ignore[index]
                "radar": batch["radar"][index : index + 1],  # type: ignore[index]
                "calibration": {name: value[index : index + 1] for name, value in batch["calibration"].items()},
            }
            torch.testing.assert_close(together[:, index], model(one).codes[:, 0], rtol=1e-4, atol=1e-4)


def test_officially_the_first_sample_lends_its_calibration_to_all() -> None:
    model, batch = build(quirks="official").eval(), make_batch(2, shift=9.0)
    same = make_batch(2, shift=0.0)
    with torch.no_grad():
        assert torch.equal(model(batch).codes, model(same).codes)
        fixed = build().eval()
        assert not torch.allclose(fixed(batch).codes[:, 1], fixed(same).codes[:, 1], atol=1e-5)


@pytest.mark.parametrize("quirk", ["unwrap", "grid", "sampling", "visibility"])
def test_each_quirk_has_its_own_switch(quirk: str) -> None:
    fixed = small().quirks.model_dump()
    plain, changed = build(), build(quirks={**fixed, quirk: "official"})
    batch = make_batch(1)
    if quirk == "unwrap":  # twelve transmitters' channels in place of one
        shapes = [tuple(model.radar.embedder.weight.shape) for model in (plain, changed)]  # type: ignore[union-attr]
        assert shapes == [(8, 32, 1, 1), (8, 384, 1, 1)]
        return
    changed.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert not torch.allclose(plain.eval()(batch).codes, changed.eval()(batch).codes, atol=1e-5)


def test_range_doppler_maps_are_unwrapped_whatever_the_quirk() -> None:
    for choice in ("official", "fixed"):
        model = build(quirks=choice, radar={"input": "rd"})
        assert model.radar.embedder is not None and model.radar.embedder.in_channels == 384


def test_no_objects_teach_no_boxes_and_broken_ones_are_skipped() -> None:
    model, batch = build().train(), make_batch(2, objects=0)
    losses = model.losses(model(batch), batch)
    assert losses["loss_bbox"] == 0 and losses["loss_cls"] > 0
    torch.stack(list(losses.values())).sum().backward()
    batch = make_batch(1, objects=2)
    outputs = model(batch)
    batch["boxes"][0][1, 3] = -1.0  # no logarithm
    kept = {**batch, "boxes": [batch["boxes"][0][:1]]}
    assert model.losses(outputs, batch)["loss_bbox"] == model.losses(outputs, kept)["loss_bbox"]


def test_ranks_share_the_number_of_objects() -> None:
    model, batch = build().eval(), make_batch(1)
    outputs = model(batch)
    alone, shared = (model.losses(outputs, batch, mean_over_ranks=f) for f in (None, lambda value: 2 * value))
    torch.testing.assert_close(shared["loss_cls"] * 2, alone["loss_cls"])
    torch.testing.assert_close(shared["loss_bbox"] * 2, alone["loss_bbox"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_trains_with_losses_near_those_of_float32(dtype: torch.dtype) -> None:
    model, batch = build(radar={"log": True}).train(), make_batch()
    exact = total_loss(model, batch).item()
    with torch.autocast("cpu", dtype=dtype):
        outputs = model(batch)
    assert outputs.logits.dtype == outputs.codes.dtype == torch.float32
    losses = torch.stack(list(model.losses(outputs, batch).values()))
    assert losses.sum().item() == pytest.approx(exact, rel=0.05)
    losses.sum().backward()
    assert all(g.isfinite().all() for g in gradients(model).values())


def test_recomputed_activations_change_neither_gradients_nor_statistics() -> None:
    results = []
    for keep in (False, True):
        neck = {"column_layers": 1, "row_layers": 1, "hidden": 16, "chunk": 48}
        model = build(dropout=0.3, checkpointing=keep, image_neck=neck).train()
        prepare_dropout(model, seed=3)
        total_loss(model, make_batch()).backward()
        results.append((gradients(model), {name: value.clone() for name, value in model.named_buffers()}))
    (plain, statistics), (recomputed, again) = results
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(gradient, recomputed[name], rtol=1e-4, atol=1e-6)
    for name, value in statistics.items():
        torch.testing.assert_close(value, again[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("official", [True, False])
def test_codes_of_boxes_and_back(official: bool) -> None:
    boxes = make_batch(1, objects=20)["boxes"][0]
    back = head.decode(head.encode(boxes, official=official), official=official)
    np.testing.assert_allclose(back, boxes, rtol=1e-5, atol=1e-5)


def test_a_heading_along_the_line_of_sight_is_zero_only_when_mended() -> None:
    box = np.array([[30.0, 30, 0, 4, 2, 1.5, np.pi / 4, 0, 0], [30.0, -10, 0, 4, 2, 1.5, np.arctan2(-10, 30), 0, 0]])
    np.testing.assert_allclose(head.encode(box, official=False)[:, 6:], [[0, 1], [0, 1]], atol=1e-6)
    assert abs(head.encode(box, official=True)[1, 6]) > 0.5


def test_only_boxes_in_range_are_detections() -> None:
    model, batch = build(decode={"center_range": (0, -1e-6, -5, 103, 1e-6, 3)}).eval(), make_batch(1)
    with torch.no_grad():
        (found,) = model.decode(model(batch), batch)
    assert len(found.boxes) == 0 and found.boxes.shape == (0, 9)


def test_quirks_in_one_word_or_each() -> None:
    assert set(small(quirks="official").quirks.model_dump().values()) == {"official"}
    mixed = small(quirks={"grid": "fixed"}).quirks
    assert mixed.grid == "fixed" and mixed.heading == "official"
    with pytest.raises(ValidationError, match="official, fixed, or a section"):
        small(quirks="both")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 18, "heads": 4}, "multiple of 4 and of heads"),
        ({"radar": {"chirps": 40}}, "multiple of radar.doppler_slots"),
        ({"radar": {"slots": [0, 16]}}, "different ones of 0 to 15"),
        ({"radar": {"samples": 40}}, "multiple of 16"),
        ({"polar": {"z_range": [3, -5]}}, "polar.z_range: 3.0 is not below -5.0"),
        ({"radar_backbon": {}}, "Extra inputs"),
    ],
)
def test_bad_configurations_say_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small(**changes)
