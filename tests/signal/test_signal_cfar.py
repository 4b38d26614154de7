"""CA-CFAR against its definition, cell by cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import signal_oracles as oracles
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portbev.signal import RadarDescription
from portbev.signal.cfar import cfar, cfar_ratio, noise_cells
from portbev_radial.recordings.description import RADIAL_RADAR


@st.composite
def maps(draw: st.DrawFn) -> tuple[np.ndarray, RadarDescription]:
    rows, columns = draw(st.integers(1, 14)), draw(st.integers(1, 10))
    window = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    guard = tuple(draw(st.integers(0, half - 1)) for half in window)
    radar = replace(RADIAL_RADAR, cfar_window=window, cfar_guard=guard)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Echoes up to 120 dB above the noise: what a difference of large sums would not survive.
    power = rng.exponential(size=(rows, columns)) * 10.0 ** rng.choice([0, 0, 0, 6, 12], size=(rows, columns))
    return power, radar


@settings(max_examples=80, deadline=None)
@given(maps())
def test_equals_the_mean_of_the_window_without_its_guard(made: tuple[np.ndarray, RadarDescription]) -> None:
    power, radar = made
    found = cfar_ratio(torch.from_numpy(power)[None], radar)[0].numpy()
    expected = oracles.cfar_ratio(power, radar)
    known = ~np.isnan(expected)
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-13)
    assert not (np.isfinite(found[~known])).any()  # no noise around: the map is smaller than the guard


def test_single_precision_keeps_weak_noise_beside_strong_echoes() -> None:
    radar = RADIAL_RADAR
    power = torch.rand(1, 64, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    power[0, 30, 8] = 1e12  # in the guard of its neighbours
    exact, found = cfar_ratio(power, radar), cfar_ratio(power.float(), radar)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


def test_a_cell_without_noise_around_is_no_detection() -> None:
    radar = replace(RADIAL_RADAR, cfar_window=(1, 1), cfar_guard=(0, 0))
    assert not cfar(torch.ones(1, 1, 1, dtype=torch.float64), radar).any()
    assert not cfar(torch.zeros(1, 4, 4, dtype=torch.float64), radar).any()


def test_the_threshold_is_not_met_by_equality() -> None:
    radar = replace(RADIAL_RADAR, cfar_window=(1, 1), cfar_guard=(0, 0), cfar_threshold_db=0.0)
    assert radar.cfar_threshold == 1.0
    assert not cfar(torch.ones(1, 5, 5, dtype=torch.float64), radar).any()


def test_doppler_does_not_wrap_around() -> None:
    cells = noise_cells((512, 16), RADIAL_RADAR)
    # 10 rows by 10 columns at a corner less 4 by 4 of guard; 19 by 16 less 7 by 7 in the middle.
    assert cells[0, 0] == 84 and cells[256, 8] == 19 * 16 - 49
