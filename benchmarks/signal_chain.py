"""The radar chain beside a straightforward NumPy transcription of its definition, in one process, by turns.

One frame of RADIal's size (512 samples, 256 chirps, 16 receivers, 12 transmitters; a calibration of 751 azimuths and 11
elevations) from the chips' int16 to range-Doppler (RD), points (PC) and the range-azimuth map (RA). The transcription
takes NumPy's transforms, one product of 751x192 with 192x256 per range bin for RA and one of 8261x192 per hit for PC.
"bare product" is those 512 products alone, 151 GFLOP, results thrown away; the faster of NumPy's and torch's counts.

    python benchmarks/signal_chain.py --threads 2              # all
    python benchmarks/signal_chain.py --threads 1 --only RD PC --repeat 9
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from portbev.signal import Calibration, RadarChain, magnitude_phase
from portbev.signal.calibration import check_calibration
from portbev_radial.recordings.description import RADIAL_RADAR
from portbev_radial.synth.antenna import build_antenna, calibration_table
from portbev_radial.synth.echoes import Echoes
from portbev_radial.synth.radar import simulate

Run = Callable[[], object]
Array = np.ndarray[Any, Any]
RADAR = RADIAL_RADAR
COUNTERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Transcription:
    """The definition, step by step, in NumPy."""

    def __init__(self, calibration: Calibration, dtype: type) -> None:
        self.dtype = dtype
        signal = calibration.signal.astype(dtype)
        self.beams = np.ascontiguousarray(signal[:, :, RADAR.road_elevation])
        self.all = np.ascontiguousarray(signal.transpose(0, 2, 1)).reshape(-1, RADAR.virtual)
        self.window = calibration.window.astype(np.float64 if dtype is np.complex128 else np.float32)
        self.azimuth, self.elevation = np.deg2rad(calibration.azimuth), np.deg2rad(calibration.elevation)
        self.range_window = np.hamming(RADAR.samples).astype(self.window.dtype)[:, None, None]
        self.doppler_window = np.hamming(RADAR.chirps).astype(self.window.dtype)[None, :, None]
        self.kernel = np.ones((19, 19))
        self.kernel[6:13, 6:13] = 0

    def adc(self, chips: Array) -> Array:
        parts = []
        for chip in RADAR.chip_order:
            samples = (chips[chip, 0::2] + 1j * chips[chip, 1::2]).astype(self.dtype)
            parts.append(np.reshape(samples, (RADAR.samples, 4, RADAR.chirps), order="F").transpose(0, 2, 1))
        frame = np.concatenate(parts, axis=2)
        return np.asarray(frame - frame.mean(axis=(0, 1)))

    def rd(self, chips: Array) -> Array:
        rt = np.fft.fft(self.adc(chips) * self.range_window, axis=0)
        return np.fft.fft(rt * self.doppler_window, axis=1)

    def pc(self, chips: Array) -> Array:
        rd = self.rd(chips)
        power = np.abs(rd).sum(2)
        reduced = power.reshape(RADAR.samples, 16, 16).sum(1) ** 2
        cells = scipy.signal.convolve2d(np.ones_like(reduced), self.kernel, mode="same")
        noise = scipy.signal.convolve2d(reduced, self.kernel, mode="same") / cells
        points = []
        for r, q in np.argwhere(reduced / noise > RADAR.cfar_threshold):
            levels = power[r, q::16]
            levels = np.append(levels, levels[:4])
            first = 16 * int(np.argmin([levels[j + 1 : j + 5].mean() for j in range(16)])) + q
            values = rd[r, (first + 16 * np.array(RADAR.slots)) % 256].ravel() * self.window
            found = np.nan_to_num(np.abs(self.all @ values))
            az, el = np.unravel_index(np.argmax(found), (len(self.azimuth), len(self.elevation)))
            points.append([r / 512 * 103.0, first, self.azimuth[az], self.elevation[el]])
        return np.array(points).reshape(-1, 4)

    def ra(self, rd: Array) -> Array:
        bins = (np.arange(256)[None] + 16 * np.array(RADAR.slots)[:, None]) % 256
        out = np.empty((RADAR.samples, len(self.beams)), self.window.dtype)
        for r in range(RADAR.samples):
            values = rd[r, bins].transpose(0, 2, 1).reshape(RADAR.virtual, RADAR.chirps)
            out[r] = np.abs(self.beams @ (values * self.window[:, None])).sum(1)
        return out

    def bare(self, rd: Array) -> Run:
        """512 products of RA's shape with NumPy."""
        values = np.ascontiguousarray(np.resize(rd, (RADAR.virtual, RADAR.chirps)))
        out = np.empty((len(self.beams), RADAR.chirps), self.dtype)
        return lambda: [np.matmul(self.beams, values, out=out) for _ in range(RADAR.samples)]

    def bare_torch(self, rd: Array) -> Run:
        """The same with torch."""
        beams, values = torch.from_numpy(self.beams), torch.from_numpy(np.resize(rd, (RADAR.virtual, RADAR.chirps)))
        out = torch.empty(len(beams), RADAR.chirps, dtype=beams.dtype)
        return lambda: [torch.mm(beams, values, out=out) for _ in range(RADAR.samples)]


def frame(seed: int = 0) -> tuple[Array, Calibration]:
    """(4, values) int16 of a generated frame with a dozen echoes, and its calibration."""
    antenna, rng = build_antenna(seed), np.random.default_rng(seed)
    calibration = check_calibration(calibration_table(antenna, 751, 11), RADAR, where="generated")
    distance, bearing = rng.uniform(5, 95, 12), rng.uniform(-0.9, 0.9, 12)
    points = np.stack([distance * np.cos(bearing), distance * np.sin(bearing), rng.uniform(-1, 1, 12)], 1)
    phase, owner = rng.uniform(-3, 3, 12), np.zeros(12, np.int64)
    echoes = Echoes(points, rng.uniform(-12, 12, 12), rng.uniform(0.5, 8, 12), phase, owner)
    return simulate(echoes, antenna, RADAR, 8.0, rng), calibration


def seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def medians(runs: dict[str, Run], repeat: int) -> dict[str, float]:
    """Seconds of each, one after the other so that a busy machine slows all."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return {name: statistics.median(values) for name, values in times.items()}


def show(name: str, ours: float, peer: float, note: str = "") -> None:
    print(f"{name:<22}{ours * 1e3:>11.1f}{peer * 1e3:>12.1f}{peer / ours:>9.2f}   {note}", flush=True)


def error(found: Tensor, exact: Tensor) -> str:
    return f"largest error {float((found - exact).abs().max() / exact.abs().max()):.1e} of the largest value"


def spectra_and_points(chips: Array, calibration: Calibration, only: Sequence[str], repeat: int) -> None:
    """RD and PC from the samples on."""
    raw = torch.from_numpy(chips)[None]
    peers = {c: Transcription(calibration, c) for c in (np.complex128, np.complex64)}
    chains = {c: RadarChain(RADAR, calibration, dtype=c) for c in (torch.complex128, torch.complex64)}
    exact, single = (chain.products(raw, ["RD", "PC"]) for chain in chains.values())
    for name in ("RD", "PC"):
        if name not in only:
            continue
        for (dtype, chain), peer in zip(chains.items(), peers.values(), strict=True):
            transcribed = getattr(peer, name.lower())
            took = medians({"ours": partial(chain.products, raw, [name]), "peer": partial(transcribed, chips)}, repeat)
            note = f"{len(exact['PC'][0])} points" if name == "PC" else ""
            if dtype == torch.complex64 and name == "RD":
                note = error(single["RD"], exact["RD"])  # type: ignore[arg-type]
            elif dtype == torch.complex64:
                same = exact["PC"][0].shape == single["PC"][0].shape and torch.equal(exact["PC"][0], single["PC"][0])
                note += ", complex128's" if same else ", not complex128's"
            show(f"{name} {str(dtype).removeprefix('torch.')}", took["ours"], took["peer"], note)


def azimuths(chips: Array, calibration: Calibration, repeat: int) -> None:
    """RA from RD on, beside the transcription and the bare product."""
    raw = torch.from_numpy(chips)[None]
    exact: Tensor | None = None
    double_peer = 0.0
    for dtype, number in ((torch.complex128, np.complex128), (torch.complex64, np.complex64)):
        chain, peer = RadarChain(RADAR, calibration, dtype=dtype), Transcription(calibration, number)
        rd = chain.doppler_spectrum(chain.range_spectrum(chain.adc(raw)))
        array = np.ascontiguousarray(rd[0].numpy())
        runs: dict[str, Run] = {
            "ours": partial(chain.range_azimuth, rd),
            "peer": partial(peer.ra, array),
            "bare numpy": peer.bare(array),
            "bare torch": peer.bare_torch(array),
        }
        took = medians(runs, repeat)
        bare = min(took["bare numpy"], took["bare torch"])
        found = chain.range_azimuth(rd)
        exact = found if exact is None else exact
        double_peer = double_peer or took["peer"]
        note = f"{took['ours'] / bare:.2f} of the bare product ({bare * 1e3:.0f} ms)"
        if dtype == torch.complex64:
            note += f"; {double_peer / took['ours']:.2f} times the complex128 transcription; {error(found, exact)}"
        show(f"RA {str(dtype).removeprefix('torch.')}", took["ours"], took["peer"], note)


def loading(chips: Array, calibration: Calibration, repeat: int) -> None:
    """Frames per second from the recording's files, as the training loader makes them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"radar_ch{i}.bin" for i in range(RADAR.chips)]
        for path, chip in zip(paths, chips, strict=True):
            chip.tofile(path)
        for dtype in (torch.complex128, torch.complex64):
            chain = RadarChain(RADAR, calibration, dtype=dtype)

            def read() -> Tensor:
                return torch.from_numpy(np.stack([np.fromfile(path, np.int16) for path in paths]))[None]

            def features(chain: RadarChain = chain) -> Tensor:
                return magnitude_phase(chain.range_spectrum(chain.adc(read()))).float()

            def whole(chain: RadarChain = chain) -> object:
                return chain.products(read(), ["RD", "RA", "PC"])

            took = medians({"RT": features, "all": whole}, repeat)
            name = str(dtype).removeprefix("torch.")
            print(
                f"loader {name:<15}{1 / took['RT']:>8.2f} frames/s of RT channels (512, 256, 32), "
                f"{1 / took['all']:.2f} frames/s of RD, RA and PC together",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("RD", "PC", "RA", "loader"), default=["RD", "PC", "RA", "loader"])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    wanted = dict.fromkeys(COUNTERS, str(arguments.threads))
    if any(os.environ.get(name) != value for name, value in wanted.items()):  # libraries read them when they load
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})
    torch.set_num_threads(arguments.threads)
    chips, calibration = frame()
    print(f"{platform.machine()}, torch {torch.__version__}, NumPy {np.__version__}, {arguments.threads} threads")
    print(f"median of {arguments.repeat}{'ours ms':>22}{'NumPy ms':>12}{'times':>9}")
    spectra_and_points(chips, calibration, arguments.only, arguments.repeat)
    if "RA" in arguments.only:
        azimuths(chips, calibration, arguments.repeat)
    if "loader" in arguments.only:
        loading(chips, calibration, arguments.repeat)


if __name__ == "__main__":
    main()
