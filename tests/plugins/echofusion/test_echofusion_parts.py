"""The parts of EchoFusion: polar geometry, transformers in parts, radar inputs, pillars, encodings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from echofusion_cases import SIZE, build, calibration, small
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from portbev.nn.dropout import prepare_dropout
from portbev_echofusion.encoder import centers
from portbev_echofusion.points import group_by_cell
from portbev_echofusion.polar import polar_grid, ray_sampling
from portbev_echofusion.positions import sine_encoding
from portbev_echofusion.radar import RangeTransform, unwrap
from portbev_echofusion.transformer import Transformer
from portbev_radial.recordings.calibration import CameraCalibration


def camera() -> dict[str, np.ndarray]:
    return {name: value[0] for name, value in calibration(1).items()}


def test_the_official_grid_is_that_of_the_original_at_full_size() -> None:
    config = small(quirks="official", mirror="official", radar={"samples": 512}, polar={})
    for level, counts in enumerate([(256, 128, 10), (128, 64, 5), (64, 32, 3)]):
        grid = polar_grid(config, level)
        assert (len(grid.azimuth), len(grid.radius), len(grid.height)) == counts
        assert grid.azimuth[1] == pytest.approx(2**level / 256 * math.pi / 3 - math.pi / 6 + 1 / 512)
        assert grid.radius[1] == pytest.approx(103 / 128 * 2**level + 103 / 256)
        assert grid.height[1] == pytest.approx(-5 + 0.8 * 2**level + 0.4)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_fixed_cells_are_centred_and_a_coarse_one_is_the_middle_of_its_fine_ones(level: int) -> None:
    grid, fine = polar_grid(small(), level), polar_grid(small(), 0)
    np.testing.assert_allclose(grid.azimuth, -grid.azimuth[::-1])
    np.testing.assert_allclose(grid.azimuth, fine.azimuth.reshape(-1, 2**level).mean(1))
    np.testing.assert_allclose(grid.radius, fine.radius.reshape(-1, 2**level).mean(1))


def test_the_mirror_turns_left_and_right_alone() -> None:
    plain, mirrored = (polar_grid(small(mirror=choice), 1) for choice in ("fixed", "official"))
    np.testing.assert_array_equal(plain.azimuth, -mirrored.azimuth)
    np.testing.assert_array_equal(plain.radius, mirrored.radius)
    assert plain.azimuth[0] > 0 > plain.azimuth[-1]  # the world's azimuth grows to the right, the boxes' to the left


def test_without_the_mirror_a_cell_is_where_the_encoder_believes_it_to_be() -> None:
    """Column and row of a cell mean the azimuth and range that the head makes of its place."""
    config, (rows, columns) = small(), (8, 16)
    grid = polar_grid(config, 0)
    share = centers(rows, columns).reshape(rows, columns, 2).numpy()
    theta = share[..., 0] * math.radians(config.polar.angle) - math.radians(config.polar.angle) / 2
    np.testing.assert_allclose(-grid.azimuth, theta[0], atol=1e-6)  # to the left
    np.testing.assert_allclose(grid.radius, share[:, 0, 1] * config.polar.range_max, rtol=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 7), st.integers(0, 15), st.integers(0, 2))
def test_cells_read_the_image_column_that_the_camera_shows_them_in(row: int, column: int, height: int) -> None:
    config, one = small(), camera()
    seen, grid = ray_sampling(config, 0, one, SIZE, 6), polar_grid(config, 0)
    lens = CameraCalibration(one["K"], one["dist"], one["rvec"], one["tvec"])
    angle, distance = grid.azimuth[column], grid.radius[row]
    place = np.array([[distance * math.cos(angle), -distance * math.sin(angle), grid.height[height]]])
    u, v, depth = lens.project(place)[0]
    inside = bool(depth > 0 and 0 <= u < SIZE[1] and 0 <= v < SIZE[0])
    assert (seen.weight[height, row, column] > 0) == inside
    if inside:
        assert seen.column[height, row, column] == pytest.approx(np.clip(u / 16, 0, 5), abs=1e-3)


@pytest.mark.parametrize("quirks", ["official", "fixed"])
def test_shares_of_the_heights_add_up_to_one_or_nothing(quirks: str) -> None:
    seen = ray_sampling(small(quirks=quirks), 0, camera(), SIZE, 6)
    total = seen.weight.sum(0)
    np.testing.assert_allclose(total, seen.visible, atol=1e-6)
    assert seen.visible.any()


@pytest.mark.parametrize("quirks", ["official", "fixed"])
def test_the_polar_view_is_the_mean_of_bilinear_samples(quirks: str) -> None:
    model = build(quirks=quirks).eval()
    neck = model.img_neck
    assert neck is not None
    rays = torch.randn(1, 16, 8, 6)
    found = neck.resample(rays, 0, calibration(1), SIZE)
    seen = ray_sampling(model.config, 0, camera(), SIZE, 6)
    row = np.broadcast_to(seen.row, seen.column.shape)
    place = torch.from_numpy(np.stack([seen.column / 5 * 2 - 1, row / 7 * 2 - 1], -1))
    samples = torch.stack(
        [functional.grid_sample(rays, p[None], align_corners=True, padding_mode="border") for p in place]
    )
    expected = (samples * torch.from_numpy(seen.weight.copy())[:, None, None]).sum(0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_transformer_is_torchs_with_its_keys() -> None:
    torch.manual_seed(0)
    theirs = nn.Transformer(16, 2, 0, 2, 24, 0.0, batch_first=True).eval()
    ours = Transformer(16, 2, 24, 2, 0.0, chunk=1000, checkpointing=False).eval()
    ours.load_state_dict(theirs.state_dict())
    queries, memory = torch.randn(3, 5, 16), torch.randn(3, 7, 16)
    expected = theirs.decoder(queries, theirs.encoder.norm(memory))  # no layers: the memory is normalised alone
    torch.testing.assert_close(ours(queries, memory), expected, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 40), st.booleans())
def test_parts_of_a_batch_are_computed_as_the_whole(chunk: int, checkpointing: bool) -> None:
    torch.manual_seed(0)
    whole = Transformer(8, 2, 8, 1, 0.0, chunk=1000, checkpointing=False)
    parts = Transformer(8, 2, 8, 1, 0.0, chunk=chunk, checkpointing=checkpointing)
    parts.load_state_dict(whole.state_dict())
    queries, memory = torch.randn(5, 6, 8), torch.randn(5, 3, 8)
    torch.testing.assert_close(parts(queries, memory), whole(queries, memory), rtol=1e-5, atol=1e-5)


def test_parts_have_dropout_masks_of_their_own() -> None:
    torch.manual_seed(0)
    model = Transformer(8, 2, 8, 1, 0.5, chunk=4, checkpointing=False).train()
    prepare_dropout(model, seed=1)
    same = torch.ones(2, 4, 8) * torch.arange(8)
    first, second = model(same, same)
    assert not torch.allclose(first, second)


def test_unwrapping_gathers_each_transmitters_column() -> None:
    columns = torch.arange(32.0).expand(1, 2, 3, 32)
    slots, step = (0, 5, 15), 2
    found = unwrap(columns, slots, step)
    assert found.shape == (1, 6, 3, 32)
    for index, slot in enumerate(slots):
        expected = (torch.arange(32) + slot * step) % 32
        assert torch.equal(found[0, 2 * index, 0], expected.float())
        assert torch.equal(found[0, 2 * index + 1, 2], expected.float())


def test_the_range_transform_starts_as_the_fourier_transform_of_the_samples() -> None:
    torch.manual_seed(0)
    signal = torch.randn(1, 16, 3, 2, dtype=torch.complex64)
    found = RangeTransform(16)(torch.view_as_real(signal).flatten(-2))
    spectrum = torch.fft.fft(signal, dim=1)
    torch.testing.assert_close(found[..., 2:], spectrum.abs(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.polar(found[..., 2:], found[..., :2]), spectrum, rtol=1e-4, atol=1e-4)


def test_samples_of_zero_give_no_broken_gradient() -> None:
    transform = RangeTransform(16)
    transform(torch.zeros(1, 16, 3, 4)).sum().backward()
    assert transform.real.grad is not None and transform.real.grad.isfinite().all()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_points_are_grouped_by_their_cell(cells: list[int]) -> None:
    occupied, owner, members = group_by_cell(np.array(cells, np.int64))
    assert occupied.tolist() == sorted(set(cells))
    assert [int(occupied[o]) for o in owner] == cells
    for cell, row in zip(occupied, members, strict=True):
        assert set(row.tolist()) == {index for index, value in enumerate(cells) if value == cell}


def test_a_point_lights_the_cell_of_its_range_and_azimuth_alone() -> None:
    model = build(radar={"input": "pc"}).eval()
    assert model.radar.pillars is not None
    cloud = torch.tensor([[4 / 32 * 103, 3.0, 0.0, 0.0], [4 / 32 * 103, 7.0, 0.0, 0.01], [103.0, 0.0, 0.0, 0.0]])
    canvas = model.radar.pillars([cloud, cloud[:1]])
    lit = canvas.abs().sum(1).nonzero()
    assert lit.tolist() == [[0, 4, 8], [1, 4, 8]]  # the last point lies beyond the rows


@pytest.mark.parametrize("points", [0, 1])
def test_training_without_points_gives_an_empty_map_and_gradients_of_zero(points: int) -> None:
    pillars = build(radar={"input": "pc"}).train().radar.pillars
    assert pillars is not None
    before = {name: value.clone() for name, value in pillars.state_dict().items()}
    canvas = pillars([torch.full((points, 4), 0.1), torch.zeros(0, 4)])
    assert canvas.abs().sum() == 0
    canvas.sum().backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in pillars.parameters())
    assert all(torch.equal(value, before[name]) for name, value in pillars.state_dict().items())


def test_a_single_point_counts_in_evaluation() -> None:
    pillars = build(radar={"input": "pc"}).eval().radar.pillars
    assert pillars is not None
    cloud = torch.tensor([[4 / 32 * 103, 3.0, 0.0, 0.0]])
    assert pillars([cloud]).abs().sum(1).nonzero().tolist() == [[0, 4, 8]]
    assert pillars([torch.zeros(0, 4)]).abs().sum() == 0


def test_encodings_tell_rows_from_columns_and_know_their_scale() -> None:
    plain = sine_encoding(3, 4, 8, normalize=False, device=torch.device("cpu"))
    assert plain.shape == (3, 4, 8)
    torch.testing.assert_close(plain[2, :, 0], torch.full((4,), math.sin(2.0)))
    torch.testing.assert_close(plain[:, 3, 5], torch.full((3,), math.cos(3.0)))
    scaled = sine_encoding(3, 4, 8, normalize=True, device=torch.device("cpu"))
    torch.testing.assert_close(scaled[0, 1, 4], torch.tensor(math.sin(1.5 / 4 * 2 * math.pi)))
