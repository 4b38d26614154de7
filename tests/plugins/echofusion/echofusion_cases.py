"""An EchoFusion so small that a forward pass takes milliseconds, and batches for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from portbev.signal import RadarChain
from portbev_echofusion.config import EchoFusionConfig
from portbev_echofusion.family import EchoFusionFamily
from portbev_echofusion.model import EchoFusion
from portbev_radial.batches import RadialBatch
from portbev_radial.recordings.description import RADIAL_RADAR

# widths are multiples of 8, see tests/bevdepth/bevdepth_cases.py
SMALL: dict[str, Any] = {
    "quirks": "fixed",
    "mirror": "fixed",
    "radar": {"samples": 32, "chirps": 32, "azimuths": 13, "embedded": 8, "points": {"channels": 8, "azimuths": 16}},
    "radar_backbone": {"depth": 18, "base_channels": 8},
    "image_backbone": {"depth": 18, "base_channels": 8, "frozen_stages": -1},
    "polar": {"azimuths": 16, "heights": 3},
    "channels": 16,
    "heads": 2,
    "hidden": 16,
    "dropout": 0.0,
    "checkpointing": False,
    "image_neck": {"column_layers": 1, "row_layers": 1, "hidden": 16},
    "encoder": {"layers": 1},
    "decoder": {"layers": 2, "queries": 9},
}
RADAR = replace(RADIAL_RADAR, samples=32, chirps=32)
SIZE = (60, 96)
"""Height and width of the pictures before padding to 64 x 96."""


def small(**changes: Any) -> EchoFusionConfig:
    """The small configuration; ``radar`` is merged, everything else replaces."""
    radar = {**SMALL["radar"], **changes.pop("radar", {})}
    return EchoFusionConfig.model_validate({**SMALL, "radar": radar, **changes})


def build(seed: int = 0, **changes: Any) -> EchoFusion:
    """The small model with attention offsets and weights that depend on the query, as after some training."""
    torch.manual_seed(seed)
    model = EchoFusionFamily().build(small(**changes))
    assert isinstance(model, EchoFusion)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "sampling_offsets" in name or "attention_weights" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def calibration(samples: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """A camera near the radar that looks ahead; each further sample's is ``shift`` pixels further to the right."""
    K = np.array([[80.0, 0, 48], [0, 80, 30], [0, 0, 1]])
    one = {
        "K": K,
        "dist": np.array([0.05, -0.02, 1e-3, -1e-3, 0.0]),
        "rvec": np.array([np.pi / 2 + 0.02, 0.01, -0.01]),
        "tvec": np.array([0.1, 1.3, 1.4]),
    }
    stacked = {name: np.stack([value] * samples) for name, value in one.items()}
    stacked["K"][:, 0, 2] += shift * np.arange(samples)
    return stacked


def raw_samples(samples: int, seed: int = 0) -> Tensor:
    """Noise and a few still targets as the chips write them."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 50, (samples, 4, RADAR.chirps, RADAR.rx_per_chip, RADAR.samples, 2))
    for bin_ in (3, 10, 21):
        turn = 2 * np.pi * bin_ * np.arange(RADAR.samples) / RADAR.samples
        values += 400 * np.stack([np.cos(turn), np.sin(turn)], -1)
    return torch.from_numpy(values.astype(np.int16)).flatten(2)


def product(raw: Tensor, name: str) -> Tensor:
    """A product of the chain as the loader gives it: real and imaginary part in a last axis."""
    values = RadarChain(RADAR, dtype=torch.complex64).products(raw, [name])[name]
    assert isinstance(values, Tensor)
    return torch.view_as_real(values).contiguous()


def make_batch(samples: int = 2, *, seed: int = 0, objects: int = 3, shift: float = 0.0, **changes: Any) -> RadialBatch:
    """A batch of raw samples; ``changes`` replace its entries."""
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(-1, 1, (samples, objects, 9)) * [30, 8, 1, 1, 0.3, 0.3, 3, 0, 0]
    boxes += [50, 0, -1, 4, 2, 1.6, 0, 0, 0]
    images = torch.from_numpy(rng.standard_normal((samples, 3, 64, 96)).astype(np.float32))
    images[:, :, SIZE[0] :] = 0
    batch = RadialBatch(
        images=images,
        image_size=SIZE,
        radar=raw_samples(samples, seed),
        radar_kind="raw",
        radar_product="rt",
        calibration=calibration(samples, shift),
        table="",
        description=RADAR,
        boxes=list(boxes.astype(np.float32)),
        labels=[np.zeros(objects, np.int64)] * samples,
        tokens=[f"{index:06d}" for index in range(samples)],
        frame2global=np.broadcast_to(np.eye(4), (samples, 4, 4)),
    )
    return {**batch, **changes}  # type: ignore[typeddict-item]


def write_table(path: Path, azimuths: int = 13) -> str:
    """A calibration table for :data:`RADAR`."""
    rng = np.random.default_rng(1)
    shape = (azimuths, RADAR.virtual, 6)
    table = {
        "Signal": np.exp(2j * np.pi * rng.random(shape)).astype(np.complex64),
        "H": np.ones((1, RADAR.virtual)),
        "Azimuth_table": np.linspace(-70, 70, azimuths),
        "Elevation_table": np.linspace(-5, 5, 6),
    }
    np.save(path, table, allow_pickle=True)  # type: ignore[arg-type]
    return str(path)


def total_loss(model: EchoFusion, batch: RadialBatch) -> Tensor:
    return torch.stack(list(model.losses(model(batch), batch).values())).sum()


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
