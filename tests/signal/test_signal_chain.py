"""The radar chain against its definition, on small radars of many shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import signal_oracles as oracles
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portbev.errors import DataError
from portbev.signal import PRODUCTS, RadarChain, RadarDescription, magnitude_phase, real_imaginary
from portbev_radial.recordings.description import RADIAL_RADAR

SMALL = replace(RADIAL_RADAR, samples=24, chirps=32, cfar_window=(5, 2), cfar_guard=(1, 0))
OTHER = RadarDescription(
    samples=20,
    chirps=30,
    rx_per_chip=2,
    chip_order=(1, 0, 2),
    doppler_slots=5,
    slots=(1, 4, 2),
    range_max=50.0,
    cfar_window=(4, 3),
    cfar_guard=(1, 1),
    cfar_threshold_db=4.0,
    road_elevation=2,
)
RADARS = {"RADIal's array": SMALL, "another array": OTHER}


def frames(radar: RadarDescription, count: int = 2, dtype: torch.dtype = torch.complex128, seed: int = 1):
    calibration = oracles.make_calibration(radar)
    raw = oracles.make_raw(radar, calibration, count, seed)
    return raw, calibration, RadarChain(radar, calibration, dtype=dtype)


@pytest.fixture(scope="module", params=RADARS)
def made(request: pytest.FixtureRequest):
    radar = RADARS[request.param]
    raw, calibration, chain = frames(radar)
    return radar, raw, calibration, chain.products(torch.from_numpy(raw), PRODUCTS)


def test_spectra_equal_their_definition(made) -> None:
    radar, raw, _, products = made
    for i, chips in enumerate(raw):
        adc = oracles.adc(chips, radar)
        rt = oracles.rt(adc)
        for name, expected in {"ADC": adc, "RT": rt, "RD": oracles.rd(rt)}.items():
            assert products[name].dtype == torch.complex128
            np.testing.assert_allclose(products[name][i].numpy(), expected, atol=1e-12 * np.abs(expected).max())


def test_range_azimuth_map_equals_one_product_per_cell(made) -> None:
    radar, raw, calibration, products = made
    for i, chips in enumerate(raw):
        expected = oracles.ra(oracles.rd(oracles.rt(oracles.adc(chips, radar))), calibration, radar)
        np.testing.assert_allclose(products["RA"][i].numpy(), expected, rtol=1e-11)


def test_points_equal_the_definition(made) -> None:
    radar, raw, calibration, products = made
    found = 0
    for points, chips in zip(products["PC"], raw, strict=True):
        expected = oracles.points(oracles.rd(oracles.rt(oracles.adc(chips, radar))), calibration, radar)
        np.testing.assert_allclose(points.numpy(), expected, rtol=1e-14)
        found += len(points)
    assert found > 0


@pytest.mark.parametrize("workspace", [1, 1 << 16, 1 << 30])
def test_the_size_of_the_buffers_changes_nothing(workspace: int) -> None:
    raw, calibration, chain = frames(SMALL, 3)
    spectrum = chain.doppler_spectrum(chain.range_spectrum(chain.adc(torch.from_numpy(raw))))
    other = RadarChain(SMALL, calibration, workspace=workspace)
    torch.testing.assert_close(other.range_azimuth(spectrum), chain.range_azimuth(spectrum), rtol=1e-12, atol=0)
    for found, expected in zip(other.point_cloud(spectrum), chain.point_cloud(spectrum), strict=True):
        assert torch.equal(found, expected)


def test_any_layout_of_a_spectrum_gives_the_same() -> None:
    raw, _, chain = frames(SMALL)
    adc = chain.adc(torch.from_numpy(raw))
    for stage in (chain.range_spectrum, chain.doppler_spectrum, chain.range_azimuth):
        torch.testing.assert_close(stage(adc.contiguous()), stage(adc), rtol=1e-12, atol=1e-9)


def test_single_precision_is_within_its_rounding() -> None:
    raw, _, double = frames(SMALL)
    _, _, single = frames(SMALL, dtype=torch.complex64)
    names = ("ADC", "RT", "RD", "RA")
    exact, found = (chain.products(torch.from_numpy(raw), names) for chain in (double, single))
    for name in names:
        assert found[name].dtype in (torch.complex64, torch.float32)
        error = (found[name] - exact[name]).abs().max() / exact[name].abs().max()
        assert error < 2e-6, name


def test_a_batch_is_its_frames() -> None:
    raw, _, chain = frames(SMALL, 3)
    together = chain.products(torch.from_numpy(raw), ["RA", "PC"])
    for i in range(3):
        alone = chain.products(torch.from_numpy(raw[i : i + 1]), ["RA", "PC"])
        torch.testing.assert_close(alone["RA"][0], together["RA"][i], rtol=1e-12, atol=0)
        torch.testing.assert_close(alone["PC"][0], together["PC"][i])


def test_silence_has_no_points_and_an_empty_map() -> None:
    _, _, chain = frames(SMALL)
    made = chain.products(torch.zeros(1, SMALL.chips, SMALL.values_per_chip, dtype=torch.int16), ["RA", "PC"])
    assert made["PC"][0].shape == (0, 4)
    assert not made["RA"].any()


def test_only_what_is_asked_for_is_made() -> None:
    raw, _, _ = frames(SMALL)
    chain = RadarChain(SMALL)
    assert list(chain.products(torch.from_numpy(raw), ["RD", "ADC"])) == ["RD", "ADC"]
    for name in ("RA", "PC"):
        with pytest.raises(DataError, match="calibration table"):
            chain.products(torch.from_numpy(raw), [name])
    with pytest.raises(DataError, match=r"unknown radar product 'rt'.*RT"):
        chain.products(torch.from_numpy(raw), ["rt"])


@pytest.mark.parametrize(
    "raw",
    [
        torch.zeros(1, 4, 10, dtype=torch.int16),
        torch.zeros(1, 3, SMALL.values_per_chip, dtype=torch.int16),
        torch.zeros(4, SMALL.values_per_chip, dtype=torch.int16),
        torch.zeros(1, 4, SMALL.values_per_chip),
    ],
)
def test_samples_of_another_shape_are_refused_in_one_line(raw: torch.Tensor) -> None:
    with pytest.raises(DataError, match=rf"expected int16 \(frames, 4, {SMALL.values_per_chip}\)$"):
        RadarChain(SMALL).adc(raw)


def test_gradients_pass_through_both_transforms() -> None:
    radar = replace(RADIAL_RADAR, samples=4, chirps=4, rx_per_chip=1, chip_order=(0, 1), doppler_slots=2, slots=(0,))
    chain = RadarChain(radar)
    adc = torch.randn(1, 4, 4, 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    torch.autograd.gradcheck(lambda x: torch.view_as_real(chain.doppler_spectrum(chain.range_spectrum(x))), [adc])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_channels_are_interleaved(antennas: int, seed: int) -> None:
    values = torch.randn(2, antennas, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))
    magnitude, phase, real, imaginary = values.abs(), values.angle(), values.real, values.imag
    for found, pairs in (
        (magnitude_phase(values), (magnitude, phase)),
        (magnitude_phase(values, phase_first=True), (phase, magnitude)),
        (real_imaginary(values), (real, imaginary)),
    ):
        assert found.shape == (2, 2 * antennas)
        torch.testing.assert_close(found[:, 0::2], pairs[0])
        torch.testing.assert_close(found[:, 1::2], pairs[1])


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"samples": 0}, "samples"),
        ({"chirps": 250}, "chirps"),
        ({"chip_order": (0, 2)}, "chip_order"),
        ({"slots": (0, 0)}, "slots"),
        ({"slots": (16,)}, "slots"),
        ({"slots": tuple(range(16))}, "slots"),
        ({"range_max": 0.0}, "range_max"),
        ({"cfar_guard": (9, 3)}, "cfar_guard"),
    ],
)
def test_a_description_of_no_radar_names_its_field(change: dict, names: str) -> None:
    with pytest.raises(ValueError, match=f"^{names} is"):
        replace(RADIAL_RADAR, **change)


def test_a_description_survives_json() -> None:
    import json

    assert RadarDescription(**json.loads(json.dumps(OTHER.as_dict()))) == OTHER
