"""Runs of the models on recorded cases: weights and inputs by the case's own recipe, imported by official key names."""

from __future__ import annotations

import importlib.util
import json
import os
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from portbev.nn.dropout import Dropout
from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.family import BevDepthFamily
from portbev_bevdepth.model import BEVDepth, BevDepthOutput
from portbev_nuscenes.batches import SweepBatch

MATRICES = ("sensor2ego", "intrin", "ida", "sensor2sensor")


@lru_cache
def recipe() -> ModuleType:
    """The recipe that the recorded cases were made with."""
    path = Path(os.environ["PORTBEV_REFERENCE_DIR"]) / "bevdepth" / "recipe.py"
    if not path.is_file():
        pytest.skip(f"no recipe in {path}")
    spec = importlib.util.spec_from_file_location("bevdepth_recipe", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Recorded:
    """One recorded file pair: arrays (some subsampled), their description, and the case that they belong to."""

    def __init__(self, case: Path, stem: str) -> None:
        if not (case / f"{stem}.npz").is_file():
            pytest.skip(f"the case has no {stem}")
        self.case: dict[str, Any] = json.loads((case / "case.json").read_text())
        described = json.loads((case / f"{stem}.json").read_text())
        self.conf: dict[str, Any] = described.get("conf", {})
        self.variant: str = described.get("variant", "")
        self.described = described
        self.tensors: dict[str, dict[str, Any]] = described["tensors"]
        with np.load(case / f"{stem}.npz") as arrays:
            self.arrays = {name: arrays[name] for name in arrays}

    def names(self, prefix: str) -> list[str]:
        found = [name for name in self.tensors if name.startswith(prefix)]
        assert found, f"nothing is recorded under {prefix}"
        return found

    def pair(self, name: str, value: Any) -> tuple[np.ndarray, np.ndarray]:
        """(ours, recorded), ours subsampled as the recorded was, both float64 or integer."""
        value = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        about = self.tensors[name]
        assert list(value.shape) == about["shape"], f"{name}: {list(value.shape)} for {about['shape']}"
        ours = value if about["stride"] == 1 else value.reshape(-1)[:: about["stride"]]
        recorded = self.arrays[name]
        return (ours, recorded) if recorded.dtype.kind in "iub" else (ours.astype(float), recorded.astype(float))

    def close(self, name: str, value: Any, gate: float) -> None:
        """Relative L2 distance of the stored part, and of the whole tensor's absolute and square sums, within gate."""
        self.values_close(name, value, gate)
        self.sums_close(name, value, gate)

    def values_close(self, name: str, value: Any, gate: float) -> None:
        ours, recorded = self.pair(name, value)
        assert relative(ours, recorded) <= gate, f"{name}: relative L2 {relative(ours, recorded):.2e} > {gate}"

    def sums_close(self, name: str, value: Any, gate: float) -> None:
        sums = self.arrays.get(f"{name}__chk")
        if sums is not None:
            whole = recipe().checks(value.detach().numpy() if isinstance(value, torch.Tensor) else value)
            off = np.abs(whole[1:3] - sums[1:3]) / (np.abs(sums[1:3]) + 1e-30)
            assert off.max() <= 2 * gate, f"{name}: sums off by {off}"

    def near(self, name: str, value: Any, gate: float) -> None:
        """Largest absolute difference within gate."""
        ours, recorded = self.pair(name, value)
        assert np.abs(ours - recorded).max(initial=0) <= gate, f"{name}: {np.abs(ours - recorded).max():.2e} > {gate}"


def relative(ours: np.ndarray, recorded: np.ndarray) -> float:
    """L2 distance over L2 norm of the recorded."""
    return float(np.linalg.norm((ours - recorded).ravel()) / max(np.linalg.norm(recorded.ravel()), 1e-15))


def config_of(recorded: Recorded) -> BevDepthConfig:
    conf = recorded.conf
    return BevDepthConfig(
        variant="matrixvt" if recorded.variant.startswith("MatrixVT") else "bevdepth",
        final_size=(conf["H"], conf["W"]),
        key_frames=conf["sweeps"],
        depth_aggregation=conf.get("da", False),
    )


def official_checkpoint(case: dict[str, Any], model: BEVDepth) -> dict[str, Any]:
    """A Lightning checkpoint of the original with the case's weights."""
    own = {key: value.numpy() for key, value in model.state_dict().items()}
    drawn = recipe().fill_state_dict(case, {key: (value.shape, value.dtype) for key, value in own.items()})
    state = {f"model.{key}": torch.from_numpy(np.array(drawn.get(key, value))) for key, value in own.items()}
    return {"epoch": 1, "global_step": 2, "state_dict": state}


def build(recorded: Recorded, config: BevDepthConfig) -> BEVDepth:
    family = BevDepthFamily()
    model = family.build(config)
    assert isinstance(model, BEVDepth)
    model.load_state_dict(family.import_state(official_checkpoint(recorded.case, model), model).state)
    for module in model.modules():
        if isinstance(module, Dropout) and "dropout_p" in recorded.conf:
            module.p = recorded.conf["dropout_p"]
    return model


def batch_of(recorded: Recorded) -> SweepBatch:
    conf = recorded.conf
    count, sweeps, size = conf["batch"], conf["sweeps"], (conf["H"], conf["W"])
    mats = recipe().mats(recorded.case, count, sweeps, *size)
    boxes, labels = zip(*(recipe().boxes(recorded.case, b) for b in range(count)), strict=True)
    return SweepBatch(
        images=torch.from_numpy(recipe().images(recorded.case, count, sweeps, *size)),
        mats={
            **{name: torch.from_numpy(mats[f"{name}_mats"]) for name in MATRICES},
            "bda": torch.from_numpy(mats["bda_mat"]),
        },
        depth=torch.from_numpy(recipe().depth_map(recorded.case, count, *size)),
        boxes=list(boxes),
        labels=list(labels),
        tokens=[str(b) for b in range(count)],
        frame2global=np.tile(np.eye(4), (count, 1, 1)),
    )


class Run:
    """A model's pass over a case: outputs, and every recorded activation under its recorded name."""

    def __init__(self, case: Path, stem: str, *, train: bool) -> None:
        self.recorded = Recorded(case, stem)
        self.config = config_of(self.recorded)
        self.model = build(self.recorded, self.config).train(train)
        self.batch = batch_of(self.recorded)
        self.activations: dict[str, np.ndarray] = {}
        self._calls: dict[str, int] = {}
        watched = {_module_of(name) for name in self.recorded.tensors if name.startswith("act/")}
        handles = [
            module.register_forward_hook(lambda _m, _i, out, name=name: self._keep(name, out))
            for name, module in self.model.named_modules()
            if name in watched or name == "backbone"
        ]
        with torch.set_grad_enabled(train):
            self.outputs: BevDepthOutput = self.model(self.batch)
        for handle in handles:
            handle.remove()

    def _keep(self, name: str, output: Any) -> None:
        call = self._calls[name] = self._calls.get(name, -1) + 1
        if name == "backbone":
            self.bev = output[0].detach()
            return
        if name.endswith("depth_net"):  # depth logits and context: the original returns them side by side
            self.context = self.context if call else output[1].detach()
            output = torch.cat(output, dim=1)
        many = isinstance(output, list | tuple)
        suffix = f"@call{call}" if self.recorded.conf["sweeps"] > 1 and name.startswith("backbone") else ""
        for index, value in enumerate(output if many else [output]):
            self.activations[f"act/{name}{f'#{index}' if many else ''}{suffix}"] = value.detach().clone().numpy()

    context: torch.Tensor = torch.empty(0)


def _module_of(name: str) -> str:
    return name.removeprefix("act/").split("@")[0].split("#")[0]


@lru_cache(maxsize=1)
def run_case(case: Path, stem: str, train: bool) -> Run:
    """One run at a time is kept: the official sizes need gigabytes."""
    return Run(case, stem, train=train)
