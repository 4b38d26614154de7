"""A trained run on the CPU, with what an export or a server needs of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from portbev.config import RunConfig, dump_config, load_config
from portbev.data import Dataset, build_dataset, open_root
from portbev.errors import ExportError, nearest
from portbev.evaluate.checkpoints import checkpoint_of, with_data
from portbev.export.interface import ModelForm, RequestForm, Tensors
from portbev.models import DetectionModel, build_model
from portbev.plugins import plugins
from portbev.runs import Run, load_run
from portbev.runs.evaluated import root_again
from portbev.runs.weights import load_any
from portbev.runtime import activate


@dataclass(frozen=True)
class Trained:
    """A run's model with its weights, in evaluation mode on the CPU, and the data that it was evaluated on.

    Attributes:
        weights: ``ema`` or ``model``.
        checkpoint: the folder that they are from.
        notes: on data and weights.
    """

    run: Run
    config: RunConfig
    model: DetectionModel
    dataset: Dataset
    weights: str
    checkpoint: Path
    notes: list[str]

    @property
    def step(self) -> int:
        """The optimizer step of the weights."""
        return int(self.checkpoint.name.removeprefix("step_"))


def open_trained(
    source: Path,
    *,
    checkpoint: str = "latest",
    data_root: str | None = None,
    split: str | None = None,
    overrides: Sequence[str] = (),
) -> Trained:
    """Open a run: its weights are loaded and its evaluation split is opened.

    Raises:
        PortbevError: no run, no checkpoint yet, weights or data that cannot be used.
    """
    run = load_run(source)
    folder = checkpoint_of(run, checkpoint)
    config = load_config(dump_config(run.config), overrides) if overrides else run.config
    config = with_data(config, split=split, version=None)
    activate("cpu", deterministic="preferred")
    family = plugins().models()[config.model.family]
    own = run.config.data.root
    root = data_root or (config.data.root if config.data.root != own else root_again(run.record.data))
    dataset = build_dataset(config.data, open_root(root), "eval", seed=config.train.seed)
    dataset.check()
    model = build_model(family, config.model)
    kind, notes = load_any(folder, model, family, use_ema=config.eval.use_ema)
    return Trained(run, config, model.eval(), dataset, kind, folder, [*dataset.notes, *notes])


def form_of(config: RunConfig, *, batch: int = 1) -> ModelForm:
    """How the configuration's model is a graph.

    Raises:
        ExportError: nobody says how.
    """
    forms = plugins().exports()
    if config.model.family not in forms:
        what = f"the model family {config.model.family!r} has no form for an export"
        raise ExportError(what, cure=nearest(config.model.family, forms, label="Families that have") + plugins().said())
    if batch < 1:
        raise ExportError("a batch holds at least one sample", where="--batch")
    return forms[config.model.family].form(config, batch=batch)


def requests_of(config: RunConfig) -> RequestForm:
    """How requests become batches of the configuration's kind of data.

    Raises:
        ExportError: nobody says how.
    """
    forms = plugins().requests()
    if config.data.kind not in forms:
        what = f"data of the kind {config.data.kind!r} cannot be asked for from outside of a data set"
        raise ExportError(what, cure=nearest(config.data.kind, forms, label="Kinds that can") + plugins().said())
    return forms[config.data.kind]


class TrainedEngine:
    """The trained model as an engine: what is exported, computed by the operators of portbev."""

    def __init__(self, graph: nn.Module, form: ModelForm) -> None:
        self._graph, self._form = graph.eval(), form

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensors:
        found: Any = self._graph(*inputs.values())
        return dict(zip(self._form.outputs(), found, strict=True))
