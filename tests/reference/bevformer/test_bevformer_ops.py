"""Multi-scale deformable attention against results recorded from the original, forward and every gradient."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from bevformer_recipe import load_recipe
from torch import Tensor

from portbev.kernels import KERNELS
from portbev.ops import ms_deform_attn, ms_deform_attn_ragged
from portbev_cpu.kernels import ms_deform_attn as ms_deform_attn_cpu

SHAPES = [(12, 20), (6, 10), (3, 5), (2, 3)]
QUERIES, IMAGES = 50, 2


@dataclass(frozen=True)
class Vectors:
    """Inputs by the recipe, and what the original made of them."""

    inputs: tuple[Tensor, Tensor, Tensor]  # value, locations, weights
    upstream: Tensor
    recorded: dict[str, Tensor]

    def gaps(self, results: list[Tensor]) -> dict[str, float]:
        """Largest difference for output and gradients, relative to the largest recorded number."""
        out, by_value, by_location, by_weight = results
        ours = {"out": out, "gv": by_value.reshape(-1)[::7], "gloc": by_location, "gw": by_weight}
        assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in self.recorded.items()}
        smooth = self._off_the_lattice()
        ours["gloc"], recorded = ours["gloc"] * smooth, {**self.recorded, "gloc": self.recorded["gloc"] * smooth}
        return {n: float((ours[n] - t).abs().max() / t.abs().max()) for n, t in recorded.items()}

    def _off_the_lattice(self) -> Tensor:
        """Zero for points so near to a whole pixel that rounding decides on which side, where the slope jumps."""
        sizes = torch.tensor([(w, h) for h, w in SHAPES], dtype=torch.float64)[:, None]
        pixels = self.inputs[1].double() * sizes - 0.5
        smooth = ((pixels - pixels.round()).abs() > 1e-4).all(-1, keepdim=True)
        assert smooth.float().mean() > 0.99
        return smooth


@pytest.fixture(scope="module")
def vectors(bevformer_case: Path) -> Vectors:
    if not (bevformer_case / "ops.npz").is_file():
        pytest.skip(f"{bevformer_case.name} has no ops.npz")
    recipe, seed = load_recipe(bevformer_case), json.loads((bevformer_case / "case.json").read_text())["seed"]

    def noise(name: str, *shape: int) -> Tensor:
        return torch.from_numpy(recipe.noise(seed, f"op/msda_{name}", shape))

    pixels = sum(h * w for h, w in SHAPES)
    value = noise("value", IMAGES, pixels, 8, 32).float()
    locations = (0.5 + 0.35 * noise("loc", IMAGES, QUERIES, 8, 4, 4, 2)).float()
    weights = noise("w", IMAGES, QUERIES, 8, 16).float().softmax(-1).unflatten(-1, (4, 4))
    with np.load(bevformer_case / "ops.npz") as stored:
        recorded = {name: torch.from_numpy(stored[f"msda_{name}"]) for name in ("out", "gv", "gloc", "gw")}
    return Vectors((value, locations, weights), noise("grad", IMAGES, QUERIES, 256).float(), recorded)


@pytest.fixture(params=["reference", "cpu_fast"])
def _provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    ranked = KERNELS.rank("cpu", [ms_deform_attn_cpu.KERNEL], choice={"ms_deform_attn": request.param})
    monkeypatch.setattr(KERNELS, "_active", ranked)


@pytest.mark.usefixtures("_provider")
@pytest.mark.parametrize("ragged", [False, True], ids=["dense", "ragged"])
def test_deformable_attention_is_the_originals(vectors: Vectors, ragged: bool) -> None:
    leaves = [t.clone().requires_grad_() for t in vectors.inputs]
    if ragged:
        rows = [t.flatten(0, 1) for t in leaves[1:]]
        out = ms_deform_attn_ragged(leaves[0], SHAPES, *rows, [QUERIES] * IMAGES).unflatten(0, (IMAGES, QUERIES))
    else:
        out = ms_deform_attn(leaves[0], SHAPES, leaves[1], leaves[2])
    results = [out.detach(), *torch.autograd.grad(out, leaves, vectors.upstream)]
    gaps = vectors.gaps(results)
    assert max(gaps.values()) < 1e-5, gaps  # float32 sums of 64 products, added in another order
