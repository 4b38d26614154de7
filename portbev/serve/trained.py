"""A trained run as a predictor, on any device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from portbev import comm as comms
from portbev.backend import Backend
from portbev.config import RunConfig
from portbev.data import Dataset, build_dataset, open_root
from portbev.determinism import forecast
from portbev.evaluate.checkpoints import checkpoint_of
from portbev.evaluate.inference import infer_batch
from portbev.export.interface import Field, Prediction, Request, RequestForm, State
from portbev.export.requests import checked
from portbev.export.samples import DatasetSamples
from portbev.export.trained import requests_of
from portbev.export.weights import weights_digest
from portbev.failures import in_one_line
from portbev.models import DetectionModel, build_model, move_batch
from portbev.plugins import plugins
from portbev.runs import load_run
from portbev.runs.evaluated import root_again
from portbev.runs.weights import load_any
from portbev.runtime import activated


class TrainedPredictor:
    """See :class:`portbev.export.interface.Predictor`.

    Args:
        model: in evaluation mode, on the device.
        form: of the data kind that the model takes.
        dataset: the evaluation split that the model was scored on; says what requests look like.
        facts: what a server says of it.
    """

    def __init__(
        self,
        model: DetectionModel,
        form: RequestForm,
        dataset: Dataset,
        config: RunConfig,
        backend: Backend,
        facts: Mapping[str, Any],
    ) -> None:
        self._model, self._form, self._dataset, self._config, self._backend = model, form, dataset, config, backend
        self._device = backend.device(comms.local_rank(backend))
        self._data = form.facts(dataset)
        self.classes = tuple(dataset.classes)
        self.fields: tuple[Field, ...] = form.fields(config, self._data)
        self.frame = form.frame()
        self.temporal = dataset.streams() is not None
        self.batch = 1
        self.facts = facts

    def __call__(self, requests: Sequence[Request], states: Sequence[State] | None = None) -> list[Prediction]:
        """The boxes of each request; of a temporal model one after the other, each after its own state."""
        arrays = checked(requests, self.fields)
        if not self.temporal:
            return [Prediction(found) for found in self._infer(arrays)]
        predictions = []
        for request, state in zip(arrays, states or [{}] * len(arrays), strict=True):
            self._model.begin_stream(state or None)
            (found,) = self._infer([request])
            predictions.append(Prediction(found, self._model.remembered()))
        self._model.begin_stream()  # nothing is kept from call to call
        return predictions

    def _infer(self, arrays: Sequence[Request]) -> Any:
        batch = self._form.batch(arrays, self._config, self._data)
        prepare = self._model.preparation(training=False)
        if prepare is not None:
            batch["prepared"] = prepare(batch)
        return infer_batch(self._model, move_batch(batch, self._device), self._backend, self._config)

    def samples(self, data_root: str | None = None) -> DatasetSamples:
        """Samples of the evaluation split, or of that split in another root."""
        dataset = self._dataset if data_root is None else _open(self._config, data_root)
        return DatasetSamples(dataset, self._form)


def open_run(
    path: Path,
    *,
    checkpoint: str = "latest",
    backend: str = "auto",
    emulate: bool = False,
    data_root: str | None = None,
) -> TrainedPredictor:
    """The model of a run, ready to predict.

    Args:
        checkpoint: ``latest``, ``best`` or a step.
        data_root: of the evaluation split, which says what requests look like; the run's own by default.

    Raises:
        PortbevError: no run, no checkpoint, no device, no data, or a kind of data that has no requests.
    """
    run = load_run(path)
    config = run.config
    form = requests_of(config)
    folder = checkpoint_of(run, checkpoint)
    chosen, told = activated(backend, config.compute, emulate=emulate)
    told = [*told, *forecast(config.compute.deterministic)]
    dataset = _open(config, data_root or root_again(run.record.data))
    family = plugins().models()[config.model.family]
    model = build_model(family, config.model)
    weights, notes = load_any(folder, model, family, use_ema=config.eval.use_ema)
    digest = weights_digest(model.state_dict())
    chosen.prepare_model(model, config.compute)
    model.to(chosen.device(comms.local_rank(chosen))).eval()
    model.requires_grad_(False)
    facts = {
        "name": config.name,
        "family": config.model.family,
        "format": "run",
        "backend": chosen.label,
        "checkpoint": folder.name,
        "averaged": weights == "ema",
        "weights": digest,
        "notes": list(dict.fromkeys([*told, *dataset.notes, *notes])),
    }
    predictor = TrainedPredictor(model, form, dataset, config, chosen, facts)
    with in_one_line():
        predictor([predictor.samples().request(0)])  # what cannot compute says so before anybody asks
    return predictor


def _open(config: RunConfig, root: str) -> Dataset:
    dataset = build_dataset(config.data, open_root(root), "eval", seed=config.train.seed)
    dataset.check()
    return dataset
