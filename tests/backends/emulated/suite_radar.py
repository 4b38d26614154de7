"""The radar chain on the emulated npu, which has no complex transform, against the host's: ten generated frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from portbev.backend import Backend
from portbev.kernels import KERNELS
from portbev.signal import RadarChain
from portbev.signal.calibration import check_calibration
from portbev.signal.cfar import cfar_ratio, reduce_doppler
from portbev.signal.chain import sum_amplitudes
from portbev_radial.recordings.description import RADIAL_RADAR
from portbev_radial.synth.antenna import build_antenna, calibration_table
from portbev_radial.synth.echoes import Echoes
from portbev_radial.synth.radar import simulate

RADAR = RADIAL_RADAR
ANTENNA = build_antenna(0)
CALIBRATION = check_calibration(calibration_table(ANTENNA, 61, 11), RADAR, where="generated")
FRAMES = 10


def generated() -> Iterator[torch.Tensor]:
    """(1, 4, values) raw frames of full size, each with a dozen echoes."""
    for seed in range(FRAMES):
        rng = np.random.default_rng(seed)
        distance, bearing = rng.uniform(4, 95, 12), rng.uniform(-0.9, 0.9, 12)
        points = np.stack([distance * np.cos(bearing), distance * np.sin(bearing), rng.uniform(-1, 1, 12)], 1)
        echoes = Echoes(
            points, rng.uniform(-12, 12, 12), rng.uniform(0.5, 8, 12), rng.uniform(-3, 3, 12), np.zeros(12, np.int64)
        )
        yield torch.from_numpy(simulate(echoes, ANTENNA, RADAR, 8.0, rng))[None]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.cpu() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.complex128, 1e-14), (torch.complex64, 5e-6)])
def test_detections_and_points_are_the_hosts_on_ten_frames(npu: Backend, dtype: torch.dtype, rounding: float) -> None:
    host, device = (RadarChain(RADAR, CALIBRATION, dtype=dtype, device=at) for at in ("cpu", npu.device()))
    KERNELS.ledger.clear()
    found = 0
    for raw in generated():
        here = host.doppler_spectrum(host.range_spectrum(host.adc(raw)))
        there = device.doppler_spectrum(device.range_spectrum(device.adc(raw.to(npu.device()))))
        assert there.device.type == "npu"
        assert relative(there, here) < rounding
        ratios = [cfar_ratio(reduce_doppler(sum_amplitudes(rd), RADAR).square(), RADAR).cpu() for rd in (here, there)]
        hits = [ratio > RADAR.cfar_threshold for ratio in ratios]
        if dtype == torch.complex128:
            assert torch.equal(hits[0], hits[1])
            (points,), (expected,) = device.point_cloud(there), host.point_cloud(here)
            assert torch.equal(points.cpu(), expected)
        else:  # single precision may turn a cell whose ratio is the threshold up to its rounding
            turned = ratios[0][hits[0] != hits[1]]
            assert ((turned / RADAR.cfar_threshold - 1).abs() < 1e-4).all()
        found += int(hits[0].sum())
    assert found >= 10 * FRAMES
    served = KERNELS.ledger.snapshot()["fft"]["forward"]
    assert served == {"matrix_dft": 2 * FRAMES, "reference": 2 * FRAMES}


def test_the_azimuth_map_is_the_hosts(npu: Backend) -> None:
    radar = replace(RADAR, samples=64, chirps=64)
    raw = torch.from_numpy(np.random.default_rng(0).integers(-90, 90, (2, 4, radar.values_per_chip), dtype=np.int16))
    host, device = (RadarChain(radar, CALIBRATION, device=at) for at in ("cpu", npu.device()))
    expected = host.products(raw, ["RA"])["RA"]
    found = device.products(raw.to(npu.device()), ["RA"])["RA"]
    assert isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor)
    assert found.device.type == "npu" and relative(found, expected) < 1e-14


def test_gradients_pass_through_the_matrix_transform(npu: Backend) -> None:
    chain = RadarChain(replace(RADAR, samples=32, chirps=32), device=npu.device())
    host = RadarChain(replace(RADAR, samples=32, chirps=32))
    x = torch.randn(1, 32, 32, 16, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    gradients = []
    for at, place in ((host, torch.device("cpu")), (chain, npu.device())):
        leaf = torch.view_as_real(x).to(place).requires_grad_()
        spectrum = at.doppler_spectrum(at.range_spectrum(torch.view_as_complex(leaf)))
        (gradient,) = torch.autograd.grad(torch.view_as_real(spectrum).square().sum(), leaf)
        gradients.append(gradient.cpu())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-11, atol=1e-9)
