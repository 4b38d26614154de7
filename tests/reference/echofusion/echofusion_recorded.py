"""A run of the model on a recorded case: weights and inputs by the recipe, imported by official key names."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev_echofusion.checkpoint import export_state, official_name
from portbev_echofusion.config import EchoFusionConfig
from portbev_echofusion.family import EchoFusionFamily
from portbev_echofusion.model import EchoFusion, Outputs
from portbev_radial.batches import RadialBatch


def load_recipe(case: Path) -> ModuleType:
    """``recipe.py`` of the folder above a case."""
    home = case.parent / "recipe.py"
    if not home.is_file():
        pytest.skip(f"{case.name} has no recipe.py")
    spec = importlib.util.spec_from_file_location("echofusion_recipe_of_the_case", home)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Recorded:
    """The recorded numbers of a case."""

    def __init__(self, case: Path, size: str = "small") -> None:
        folder = case / "model"
        if not (folder / f"forward_{size}.npz").is_file():
            pytest.skip(f"{case.name} has no model numbers")
        self.case: dict[str, Any] = json.loads((case / "case.json").read_text())
        self.recipe, self.size = load_recipe(case), size
        self.info: dict[str, Any] = json.loads((folder / f"forward_{size}.json").read_text())
        self.training: dict[str, Any] = json.loads((folder / f"train_{size}.json").read_text())["eval"]
        with np.load(folder / f"forward_{size}.npz") as stored:
            self.arrays = {name: stored[name] for name in stored}

    def gap(self, name: str, ours: Tensor | NDArray[Any]) -> float:
        """Largest difference to a recorded array, relative to the largest value of the whole one (at least 1)."""
        key = next(key for key in self.arrays if key == name or key.startswith(f"{name}_s"))
        values = ours.detach().numpy() if isinstance(ours, Tensor) else np.asarray(ours)
        scale = max(1.0, self.info["stats"].get(name, {}).get("absmax", 1.0))
        if key != name:
            assert list(values.shape) == self.info["stats"][name]["shape"], (name, values.shape)
            steps = [int(step) for step in key.removeprefix(f"{name}_s").split("_")]
            values = values[tuple(slice(None, None, step) for step in steps)]
        stored = self.arrays[key]
        assert values.shape == stored.shape, (name, values.shape, stored.shape)
        return float(np.abs(values.astype(np.float64) - stored).max()) / scale


class Run:
    """Forward and backward pass of the model in evaluation mode, with what passed through it."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.seen: dict[str, Any] = {}
        self.model = build(recorded).eval()
        self._watch()
        self.batch = make_batch(recorded)
        self.outputs: Outputs = self.model(self.batch)

    @cached_property
    def losses(self) -> dict[str, Tensor]:
        return self.model.losses(self.outputs, self.batch)

    @cached_property
    def gradients(self) -> dict[str, Tensor | None]:
        """Of the sum of all losses, by official names."""
        torch.stack(list(self.losses.values())).sum().backward()
        return {official_name(name): parameter.grad for name, parameter in self.model.named_parameters()}

    def _watch(self) -> None:
        model, neck = self.model, self.model.img_neck
        assert neck is not None and model.img_backbone is not None and model.radar.embedder is not None
        model.radar.embedder.register_forward_hook(self._keep("embed"))
        for name, module in {
            "radar_stages": model.radar_backbone,
            "radar_maps": model.radar_neck,
            "img_stages": model.img_backbone,
            "img_maps": neck.fpn,
            "encoded": model.encoder,
            "decoded": model.decoder,
        }.items():
            module.register_forward_hook(self._keep(name))
        for name in ("rays", "resample", "aggregate", "ray_samplings"):
            setattr(neck, name, self._kept(name, getattr(neck, name)))

    def _keep(self, name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            self.seen[name] = (inputs[0], output) if name == "embed" else output

        return hook

    def _kept(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            result = method(*arguments)
            self.seen.setdefault(name, []).append(result)
            return result

        return run


def build(recorded: Recorded) -> EchoFusion:
    """The model with the case's weights, taken in as anyone's official checkpoint is."""
    family = EchoFusionFamily()
    model = family.build(EchoFusionConfig())
    assert isinstance(model, EchoFusion)
    fresh = export_state(model)["state_dict"]
    weights = {}
    for name, weight in fresh.items():
        filled = recorded.recipe.fill(name, tuple(weight.shape), str(weight.dtype))
        weights[name] = weight if filled is None else torch.from_numpy(filled)
    model.load_state_dict(family.import_state({"state_dict": weights}, model).state)
    model._read = lambda batch: batch["radar"]  # type: ignore[assignment]  # the batch has the channels themselves
    return model


def make_batch(recorded: Recorded) -> RadialBatch:
    """The case's inputs. Its radar channels are drawn, and no magnitudes and phases of complex numbers."""
    image, radar, boxes, calibration = recorded.recipe.inputs(recorded.case, recorded.size)
    height, width = image.shape[-2:]
    return RadialBatch(
        images=torch.from_numpy(image[:, 0]),
        image_size=(height, width),
        radar=torch.from_numpy(radar[:, 0]),
        radar_kind="rt",
        radar_product="rt",
        calibration={
            "K": calibration["cam_mat"][None].astype(np.float64),
            "dist": calibration["dist_coeffs"][None].astype(np.float64),
            "rvec": calibration["rvec"][None].astype(np.float64),
            "tvec": calibration["tvec"][None].astype(np.float64),
        },
        table="",
        description=None,
        boxes=[truth(boxes)],
        labels=[np.zeros(len(boxes), np.int64)],
        tokens=["000000"],
        frame2global=np.eye(4)[None],
    )


def truth(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The case's objects, given with z at the bottom, as boxes of the project."""
    boxes = np.zeros((len(rows), 9), np.float32)
    boxes[:, :7] = rows
    boxes[:, 2] += boxes[:, 5] / 2
    return boxes
