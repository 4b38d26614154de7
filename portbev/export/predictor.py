"""Pictures and calibration to boxes, by an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from portbev.config import RunConfig, load_config
from portbev.data import build_dataset, open_root
from portbev.errors import DataError, ExportError
from portbev.export.interface import Engine, Field, ModelForm, Prediction, Request, RequestForm, State
from portbev.export.load import load
from portbev.export.requests import checked
from portbev.export.samples import DatasetSamples
from portbev.export.trained import form_of, requests_of


class EnginePredictor:
    """See :class:`portbev.export.interface.Predictor`."""

    def __init__(
        self,
        config: RunConfig,
        engine: Engine,
        form: ModelForm,
        requests: RequestForm,
        request_facts: Mapping[str, Any],
        classes: Sequence[str],
        facts: Mapping[str, Any],
    ) -> None:
        self.config, self.facts, self.classes = config, facts, tuple(classes)
        self.temporal, self.batch, self.frame = form.temporal, form.batch, requests.frame()
        self.fields: tuple[Field, ...] = requests.fields(config, request_facts)
        self._engine, self._form, self._requests, self._request_facts = engine, form, requests, request_facts

    def __call__(self, requests: Sequence[Request], states: Sequence[State] | None = None) -> list[Prediction]:
        """The boxes of each request, see :meth:`portbev.export.interface.Predictor.__call__`."""
        if states is not None and len(states) != len(requests):
            raise DataError(f"{len(states)} states for {len(requests)} requests", where="states")
        if states is not None and not self.temporal and any(states):
            raise DataError("the model has no memory, a state was given", where="states", cure="Leave it out")
        arrays = checked(requests, self.fields)
        found: list[Prediction] = []
        for start in range(0, len(arrays), self.batch):
            part = arrays[start : start + self.batch]
            state = states[start] if states is not None and self.temporal else {}
            found += self._predict(part, state)[: len(part)]
        return found

    @torch.no_grad()
    def _predict(self, part: Sequence[Request], state: State) -> list[Prediction]:
        filled = [*part, *[part[-1]] * (self._form.batch - len(part))]
        batch = self._requests.batch(filled, self.config, self._request_facts)
        results = self._engine(self._form.inputs(batch, state))
        after = {taken: results[given] for given, taken in self._form.state.items()}
        return [Prediction(detections, after) for detections in self._form.detections(results)]

    def samples(self, data_root: str | None = None) -> DatasetSamples:
        """Real samples of the data that the run was evaluated on, or of the same kind at another root."""
        root = data_root or str(self.facts["data_root"])
        dataset = build_dataset(self.config.data, open_root(root), "eval", seed=self.config.train.seed)
        dataset.check()
        return DatasetSamples(dataset, self._requests)


def open_predictor(path: Path, *, data_root: str | None = None) -> EnginePredictor:
    """What makes boxes of requests, by an export.

    Args:
        path: the file of the export.
        data_root: where the data are that the run was evaluated on, if they are not where they were.

    Raises:
        PortbevError: no export, or one that cannot be used here.
    """
    export = load(path)
    manifest = export.manifest
    config = load_config(manifest.config)
    form, requests = form_of(config, batch=manifest.batch), requests_of(config)
    names = {one.name for one in manifest.inputs}
    if not set(form.state.values()) <= names or set(form.outputs()) != {one.name for one in manifest.outputs}:
        what = "its inputs and results are not those of this version's models"
        raise ExportError(what, where=str(export.path), cure="Export the run again")
    facts = {
        "name": manifest.name,
        "family": manifest.family,
        "format": manifest.format,
        "step": manifest.weights.step,
        "weights": manifest.weights.digest,
        "versions": manifest.versions,
        "data_root": data_root or manifest.parity.data,
    }
    return EnginePredictor(config, export, form, requests, manifest.request, manifest.classes, facts)
