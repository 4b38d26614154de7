"""The radar's input to the network, and its embedding as the map that the radar backbone takes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from portbev.errors import DataError
from portbev.nn.precision import full_precision
from portbev.signal import RadarChain, RadarDescription, magnitude_phase, read_calibration, real_imaginary
from portbev_echofusion.config import EchoFusionConfig, RadarSection
from portbev_echofusion.points import Pillars
from portbev_radial.batches import RadialBatch

PRODUCTS = {"rt": "RT", "rd": "RD", "ra": "RA", "adc": "ADC", "pc": "PC"}
"""The signal chain's product for each input."""


class RadarReader:
    """Reads the network's radar input from a batch.

    rt, rd and adc are (B,S,C,2A) with two channels per antenna: magnitude and phase for rt, real and imaginary part for
    the others. ra is (B,S,n_az). Both are float32 on the device of the batch's tensors. pc is a list of B point clouds
    (n,4) float32 on the host.

    Args:
        section: what the model takes of the radar.
        range_max: range in metres that the model's maps reach to.
    """

    def __init__(self, section: RadarSection, range_max: float) -> None:
        self.section, self.range_max = section, range_max
        self._chains: dict[tuple[Any, ...], RadarChain] = {}

    @torch.no_grad()
    def __call__(self, batch: RadialBatch) -> Any:
        """The input that ``model.radar.input`` names.

        Raises:
            DataError: the batch holds another input, or one of another size or reach.
        """
        kind, radar = self.check(batch)
        return self.features(radar, batch, kind)

    def check(self, batch: RadialBatch) -> tuple[str, Any]:
        """The kind of the batch's radar, and what it holds.

        Raises:
            DataError: it is not what the model takes.
        """
        section, kind, radar = self.section, batch["radar_kind"], batch["radar"]
        if batch["radar_product"] != section.input or radar is None:
            what = f"data.radar is {batch['radar_product']!r}, the model takes {section.input!r} (model.radar.input)"
            raise DataError(what, cure=f"Set data.radar={section.input}")
        self._check_radar(batch["description"])
        return kind, radar

    def features(self, radar: Any, batch: RadialBatch, kind: str) -> Any:
        """The network's input from ``radar``, samples or a product, of the radar that ``batch`` describes."""
        section = self.section
        if kind == "raw":
            raw = cast(Tensor, radar)
            with full_precision(raw.device):
                radar = self._chain(batch, raw.device).products(raw, [PRODUCTS[section.input]])[PRODUCTS[section.input]]
        if section.input == "pc":
            return [points.float().cpu() for points in radar]
        values = cast(Tensor, radar)
        self._check(values)
        if section.input == "ra":
            return values.float().log1p() if section.log else values.float()
        if not values.is_complex():
            if section.input != "rt":
                return values.flatten(-2).float()
            values = torch.view_as_complex(values.contiguous())
        if section.input != "rt":
            return real_imaginary(values).float()
        features = magnitude_phase(values).float()
        if section.log:
            magnitude, phase = features.unflatten(-1, (-1, 2)).unbind(-1)
            features = torch.stack([magnitude.log1p(), phase], -1).flatten(-2)
        return features

    def _check_radar(self, radar: RadarDescription) -> None:
        """Points carry no sizes, and no map says how far it reaches."""
        if abs(radar.range_max - self.range_max) > 1e-6 * radar.range_max:
            what = f"the radar reaches {radar.range_max:g} m, the model's maps {self.range_max:g} m"
            cure = f"Set model.polar.range_max={radar.range_max:g}"
            raise DataError(what, where="model.polar.range_max", cure=cure)
        if self.section.input == "pc":
            self._same((radar.samples, radar.chirps), ("samples", "chirps"))

    def _check(self, values: Tensor) -> None:
        names = ("samples", "azimuths") if self.section.input == "ra" else ("samples", "chirps", "receivers")
        self._same(tuple(values.shape[1 : 1 + len(names)]), names)

    def _same(self, actual: tuple[int, ...], names: tuple[str, ...]) -> None:
        expected = tuple(getattr(self.section, name) for name in names)
        if actual != expected:
            sizes = [
                f"model.radar.{name}={size}" for name, size, e in zip(names, actual, expected, strict=True) if size != e
            ]
            what = f"radar maps are {actual}, the model takes {expected} ({', '.join(names)})"
            raise DataError(what, cure=f"Set {' and '.join(sizes)}, as the radar of the data has them")

    def _chain(self, batch: RadialBatch, device: torch.device) -> RadarChain:
        """The signal chain of the batch's radar; the last one is kept."""
        radar: RadarDescription = batch["description"]
        key = (radar, batch["table"], device)
        if key not in self._chains:
            table = read_calibration(Path(batch["table"]), radar) if self.section.input in ("ra", "pc") else None
            dtype = getattr(torch, self.section.precision)
            self._chains = {key: RadarChain(radar, table, dtype=dtype, device=device)}
        return self._chains[key]


class RadarEmbedding(nn.Module):
    """Embeds the radar input in a map (B,channels,S,width) for the radar backbone.

    Keys: ``embedder`` (rt, rd, adc), ``norm`` (rd), ``range_embedder`` (adc), ``pillars`` (pc).
    """

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        section = config.radar
        self.input = section.input
        self.step = section.chirps // section.doppler_slots
        self.slots = section.slots if config.unwraps else ()
        self.range_embedder = RangeTransform(section.samples) if section.input == "adc" else None
        self.norm = nn.LayerNorm([section.samples, section.chirps]) if section.input == "rd" else None
        self.pillars = Pillars(config) if section.input == "pc" else None
        in_channels = 2 * section.receivers * max(1, len(self.slots))
        self.embedder = nn.Conv2d(in_channels, section.embedded, 1) if section.input in ("rt", "rd", "adc") else None
        self.channels = {"ra": 1, "pc": section.points.channels}.get(section.input, section.embedded)

    def forward(self, radar: Any) -> Tensor:
        if self.pillars is not None:
            return self.pillars(radar)
        if self.embedder is None:
            return cast(Tensor, radar)[:, None]
        x = radar if self.range_embedder is None else self.range_embedder(radar)
        x = x.permute(0, 3, 1, 2)
        if self.slots:
            x = unwrap(x, self.slots, self.step)
        return self.embedder(x if self.norm is None else self.norm(x))


def unwrap(x: Tensor, slots: tuple[int, ...], step: int) -> Tensor:
    """Gather the Doppler bins of all transmitters: (B,K,S,C) to (B,slots*K,S,C).

    In the K channels of slot s, column c is the input's column (c + s * step) mod C.
    """
    return torch.cat([x.roll(-slot * step, dims=3) for slot in slots], 1)


class RangeTransform(nn.Module):
    """A learned complex linear map along the samples. Its initial weights are the Fourier transform without window.

    Keys ``real`` and ``imaginary`` (S,S).
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        n = torch.arange(samples)
        angle = (n[:, None] * n % samples).double() * (-2 * math.pi / samples)
        self.real = nn.Parameter(angle.cos().float())
        self.imaginary = nn.Parameter(angle.sin().float())

    def forward(self, x: Tensor) -> Tensor:
        """Real and imaginary parts (B,S,C,2A) to A phases, then A magnitudes (B,S,C,2A)."""
        with full_precision(x.device):
            shape = x.shape[2:-1]
            real, imaginary = (part.float().flatten(2) for part in (x[..., 0::2], x[..., 1::2]))
            re = self.real.float() @ real - self.imaginary.float() @ imaginary
            im = self.real.float() @ imaginary + self.imaginary.float() @ real
            power = re.square() + im.square()
            phase = torch.atan2(im, torch.where(power == 0, torch.ones_like(re), re))  # avoids the gradient 0/0
            parts = [phase, power.clamp(min=torch.finfo(power.dtype).tiny).sqrt()]
            return torch.cat([part.unflatten(2, (*shape, -1)) for part in parts], -1)
