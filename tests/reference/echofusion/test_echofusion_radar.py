"""The radar chain against the original's (RADIal's rpl.py as EchoFusion runs it), in complex128 and complex64."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from portbev.signal import RadarChain, magnitude_phase
from portbev.signal.calibration import Calibration, read_calibration
from portbev.signal.cfar import cfar_ratio, noise_cells, reduce_doppler
from portbev.signal.chain import sum_amplitudes
from portbev.signal.directions import strongest_directions
from portbev.signal.mimo import virtual_array
from portbev_radial.recordings.description import RADIAL_RADAR

pytestmark = pytest.mark.reference
RADAR = RADIAL_RADAR
ROUNDING = {torch.complex128: 1e-6, torch.complex64: 2e-6}
"""Largest difference over largest value: the spectra are recorded in float32."""


@lru_cache
def recipe() -> ModuleType:
    """The recipe that the recorded cases were made with."""
    path = Path(os.environ["PORTBEV_REFERENCE_DIR"]) / "echofusion" / "recipe.py"
    if not path.is_file():
        pytest.skip(f"no recipe in {path}")
    spec = importlib.util.spec_from_file_location("echofusion_radar_recipe", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Recorded:
    """A case, and what the chain makes of it."""

    golden: dict[str, np.ndarray]
    meta: dict[str, Any]
    raw: Tensor
    chain: RadarChain

    @cached_property
    def adc(self) -> Tensor:
        return self.chain.adc(self.raw)

    @cached_property
    def rt(self) -> Tensor:
        return self.chain.range_spectrum(self.adc)

    @cached_property
    def rd(self) -> Tensor:
        return self.chain.doppler_spectrum(self.rt)

    @cached_property
    def hits(self) -> tuple[Tensor, Tensor, Tensor]:
        at = torch.from_numpy(np.stack([self.golden["hit_range_bin"], self.golden["tx0_doppler_bin"]])).long()
        return torch.zeros_like(at[0]), at[0], at[1]

    def compare(self, values: Tensor, name: str) -> None:
        """``values`` of the one frame, thinned out as recorded, against the entry that begins with ``name``."""
        key = next(key for key in self.golden if key.startswith(f"{name}_s"))
        steps = [int(step) for step in key.rsplit("_s", 1)[1].split("_")]
        found = values[0].numpy()[tuple(slice(None, None, step) for step in steps)]
        close(found, self.golden[key], self.chain.dtype, scale=self.meta["stats"].get(name, {}).get("max_abs"))


def close(found: np.ndarray, expected: np.ndarray, dtype: torch.dtype, scale: float | None = None) -> None:
    """Single precision rounds by the whole frame's ``scale``, double precision by that of the recorded values."""
    assert found.shape == expected.shape
    largest = scale if scale is not None and dtype == torch.complex64 else np.abs(expected).max()
    assert np.abs(found - expected).max() <= ROUNDING[dtype] * largest


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """The recipe's table, by way of the file that the original has."""
    path = tmp_path_factory.mktemp("calibration") / "CalibrationTable.npy"
    np.save(path, recipe().calibration(), allow_pickle=True)
    return read_calibration(path, RADAR)


@pytest.fixture(scope="module", params=[torch.complex128, torch.complex64], ids=["complex128", "complex64"])
def recorded(request: pytest.FixtureRequest, echofusion_case: Path, calibration: Calibration) -> Recorded:
    folder = echofusion_case / "radar"
    if not (folder / "golden.npz").is_file():
        pytest.skip("the case has no radar recording")
    meta = json.loads((folder / "meta.json").read_text())
    chips = recipe().adc(json.loads((echofusion_case / "case.json").read_text()))
    with np.load(folder / "golden.npz") as golden:
        arrays = dict(golden)
    chain = RadarChain(RADAR, calibration, dtype=request.param)
    return Recorded(arrays, meta, torch.from_numpy(np.stack(chips))[None], chain)


def test_the_recipe_makes_the_recorded_samples(recorded: Recorded) -> None:
    found = [hashlib.sha256(chip.numpy().tobytes()).hexdigest() for chip in recorded.raw[0]]
    assert found == recorded.meta["input_sha256"]


def test_samples_without_dc(recorded: Recorded) -> None:
    recorded.compare(recorded.adc, "ADC")


def test_range_spectrum(recorded: Recorded) -> None:
    recorded.compare(recorded.rt, "RT")


def test_range_doppler_spectrum(recorded: Recorded) -> None:
    recorded.compare(recorded.rd, "RD")


def test_whole_spectra_have_the_recorded_norms(recorded: Recorded) -> None:
    for name, values in {"ADC": recorded.adc, "RT": recorded.rt, "RD": recorded.rd}.items():
        expected = recorded.meta["stats"][name]
        assert list(values.shape[1:]) == expected["shape"]
        assert values.abs().square().sum(dtype=torch.float64).sqrt().item() == pytest.approx(expected["l2"], rel=1e-6)
        assert values.abs().max().item() == pytest.approx(expected["max_abs"], rel=1e-6)


def test_range_azimuth_map(recorded: Recorded) -> None:
    found = recorded.chain.range_azimuth(recorded.rd)
    recorded.compare(found, "RA")
    for axis, name in ((1, "RA_rowsum"), (0, "RA_colsum")):
        sums = found[0].double().sum(axis).numpy()
        assert np.abs(sums / recorded.golden[name] - 1).max() < ROUNDING[recorded.chain.dtype]


def test_amplitudes_and_noise(recorded: Recorded) -> None:
    amplitude = sum_amplitudes(recorded.rd)
    recorded.compare(amplitude, "power")
    reduced = reduce_doppler(amplitude, RADAR)
    close(reduced[0].numpy(), recorded.golden["reduced_power"], recorded.chain.dtype)
    ratio = cfar_ratio(reduced.square(), RADAR)[0].numpy()
    double = recorded.chain.dtype == torch.complex128
    np.testing.assert_allclose(ratio, recorded.golden["snr"], rtol=1e-11 if double else 1e-5)
    assert (noise_cells((512, 16), RADAR).numpy() == recorded.golden["cfar_valid_cells"]).all()


def test_detections_are_identical(recorded: Recorded) -> None:
    if recorded.chain.dtype == torch.complex64 and recorded.meta["stats"]["cfar_min_rel_margin"] < 1e-4:
        pytest.skip("a cell of this case is nearer to the threshold than single precision can tell")
    reduced = reduce_doppler(sum_amplitudes(recorded.rd), RADAR)
    found = (cfar_ratio(reduced.square(), RADAR) > RADAR.cfar_threshold)[0].numpy()
    expected = np.unpackbits(recorded.golden["hits"]).astype(bool).reshape(found.shape)
    assert (found == expected).all()


def test_virtual_array_and_its_strongest_direction(recorded: Recorded, calibration: Calibration) -> None:
    elements = virtual_array(recorded.rd, *recorded.hits, RADAR)
    weighted = elements[:8].numpy() * calibration.window
    close(weighted, recorded.golden["mimo_first8"], recorded.chain.dtype)
    _, peak = strongest_directions(elements, recorded.chain._directions)
    np.testing.assert_allclose(peak.numpy(), recorded.golden["aoa_peak"], rtol=ROUNDING[recorded.chain.dtype])


def test_point_cloud_is_exact(recorded: Recorded) -> None:
    margins = [recorded.meta["stats"][name] for name in ("cfar_min_rel_margin", "aoa_min_rel_margin_top1_top2")]
    if recorded.chain.dtype == torch.complex64 and min(margins) < 1e-4:
        pytest.skip("a decision of this case is closer than single precision can tell")
    (points,) = recorded.chain.point_cloud(recorded.rd)
    assert points.dtype == torch.float64
    assert np.array_equal(points.numpy(), recorded.golden["PC"])


def test_magnitudes_and_phases(recorded: Recorded) -> None:
    key = next(key for key in recorded.golden if key.startswith("RTfeat_s"))
    steps = [int(step) for step in key.rsplit("_s", 1)[1].split("_")]
    thinned = recorded.rt[0, :: steps[0], :: steps[1]]
    found, expected = magnitude_phase(thinned).numpy(), recorded.golden[key]
    scale = recorded.meta["stats"]["RT"]["max_abs"]
    close(found[..., 0::2], expected[..., 0::2], recorded.chain.dtype, scale)
    # A phase is as exact as its magnitude lets it be: compared as the numbers that both make.
    ours, theirs = (x[..., 0::2] * np.exp(1j * x[..., 1::2]) for x in (found, expected))
    close(ours, theirs, recorded.chain.dtype, scale)


def test_a_batch_of_frames_is_each_frame_for_itself(recorded: Recorded) -> None:
    other = recorded.raw.flip(2)
    both = recorded.chain.products(torch.cat([other, recorded.raw]), ["RD", "PC"])
    close(both["RD"][1].numpy(), recorded.rd[0].numpy(), recorded.chain.dtype)
    if recorded.chain.dtype == torch.complex128:
        assert np.array_equal(both["PC"][1].numpy(), recorded.golden["PC"])
