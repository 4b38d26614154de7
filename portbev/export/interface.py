"""What an exported model is, what a request is, and what makes boxes of requests.

A *request* is what a user has: pictures, calibration, radar samples, as NumPy arrays by name. The data kind's
:class:`RequestForm` makes a batch of it, as the evaluation would have read it from disk. The model family's
:class:`ModelForm` makes of the batch the named tensors that the graph takes, and of the graph's named results the
boxes. An *engine* computes the one from the other: the trained model itself, or an export (:class:`Exported`).
A :class:`Predictor` is the four together.

Memory of a temporal model is explicit: nothing of these holds a state between two calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from portbev.models import Batch, DetectionModel, Detections

if TYPE_CHECKING:
    from portbev.config import RunConfig
    from portbev.export.manifest import Manifest

Tensors = dict[str, Tensor]
Request = Mapping[str, NDArray[Any]]
"""The arrays of one sample, by the names of the request's fields."""
State = Mapping[str, Tensor]
"""What a temporal model remembers of a stream, by the names of the graph's inputs, on the CPU; empty for others, and
before the first frame of a stream."""


@dataclass(frozen=True)
class Field:
    """An array of a request, or a tensor that a graph takes or returns.

    Attributes:
        name: its name.
        dtype: as NumPy names it: ``float32``, ``uint8``.
        shape: None where any length is allowed.
        meaning: what it is, in a clause; names the axes.
        unit: of its values; empty where there is none.
        frame: the frame of coordinates that it is in, or leads to; empty where there is none.
        optional: of a request: it may be left out.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    meaning: str
    unit: str = ""
    frame: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Length:
    """An axis of an input whose length may change between calls; axes of one name have one length."""

    axis: int
    name: str
    least: int
    most: int


@dataclass(frozen=True)
class Prediction:
    """The answer to a request: its boxes, and the state to give with the stream's next request."""

    detections: Detections
    state: State = field(default_factory=dict)


class Engine(Protocol):
    """Computes a model's named results from its named inputs, on the CPU, without a gradient and without memory."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensors: ...


class Exported(Engine, Protocol):
    """A loaded export (:func:`portbev.export.load.load`): pt2, onnx and aoti alike.

    Attributes:
        manifest: what is known of it: inputs, outputs, state, preprocessing, classes, versions, digests, tolerance.
    """

    manifest: Manifest


class RequestForm(Protocol):
    """How requests of a kind of data become batches; offered by the hook ``portbev_requests``.

    Attributes:
        kind: value of ``data.kind``.
    """

    kind: str

    def facts(self, dataset: Any) -> dict[str, Any]:
        """What requests and batches depend on besides the configuration, of an opened data set: values for JSON."""
        ...

    def fields(self, config: RunConfig, facts: Mapping[str, Any]) -> tuple[Field, ...]:
        """What a request holds. Pictures come as they were decoded: uint8, RGB, of the data set's size."""
        ...

    def batch(self, requests: Sequence[Request], config: RunConfig, facts: Mapping[str, Any]) -> Batch:
        """The batch that the evaluation would have made of these samples, without boxes.

        Args:
            requests: checked by their fields (:func:`portbev.export.requests.checked`).
            facts: those of the data that the model was evaluated on.

        Raises:
            DataError: values that cannot be: a matrix without an inverse, a picture of another size.
        """
        ...

    def frame(self) -> str:
        """The frame of coordinates that the boxes are in, in a clause."""
        ...

    def request(self, dataset: Any, index: int) -> Request:
        """The request that asks for sample ``index`` of an opened data set: what a client would send."""
        ...


class ModelForm(Protocol):
    """A model family's way from a batch to tensors, and from tensors to boxes; made from a configuration alone.

    Attributes:
        batch: the number of samples that the graph takes at once.
        temporal: whether a stream's earlier frames are remembered.
        state: the graph's input that each of its results is the next value of: result -> input.
        postprocessing: what is computed outside of the graph, in a clause.
    """

    batch: int
    temporal: bool
    state: Mapping[str, str]
    postprocessing: str

    def inputs(self, batch: Batch, state: State) -> Tensors:
        """What the graph takes of a batch of :attr:`batch` samples, in the order of the graph's arguments.

        Args:
            state: of the stream; empty at its beginning and for models without memory.
        """
        ...

    def of_model(self, outputs: Any) -> Tensors:
        """The graph's results as the trained model computes them: of what its ``forward`` returned."""
        ...

    def detections(self, outputs: Mapping[str, Tensor]) -> list[Detections]:
        """The boxes of each sample from the graph's results."""
        ...

    def module(self, model: DetectionModel, batch: Batch) -> nn.Module:
        """The graph: takes the tensors of :meth:`inputs` in their order, returns those named :meth:`outputs`.

        Args:
            batch: a batch of the kind that the graph is for; what it says of the sensors is part of the graph.

        Raises:
            ExportError: the model has none for batches of this kind.
        """
        ...

    def outputs(self) -> tuple[str, ...]:
        """The names of the graph's results, in order."""
        ...

    def describe(self, name: str) -> tuple[str, str, str]:
        """Meaning, unit and frame of an input or a result, see :class:`Field`."""
        ...

    def lengths(self) -> Mapping[str, Length]:
        """Inputs with an axis whose length changes between calls."""
        ...


class ModelForms(Protocol):
    """Makes the forms of a model family; offered by the hook ``portbev_exports``.

    Attributes:
        family: value of ``model.family``.
    """

    family: str

    def form(self, config: RunConfig, *, batch: int = 1) -> ModelForm:
        """The form of a configuration's model.

        Raises:
            ExportError: this model has none; says which setting is the reason.
        """
        ...


class Predictor(Protocol):
    """Makes boxes of requests: of a trained run or of an export (:func:`portbev.export.predictor.open_predictor`).

    Calls are independent of each other and keep nothing; one at a time.

    Attributes:
        classes: names of the classes, by label.
        fields: what a request holds.
        frame: the frame of coordinates that boxes are in, in a clause.
        temporal: whether a state is given and returned; then each request is of a stream of its own.
        batch: how many requests are computed at once at best; any number can be given.
        facts: what a server says of it: name, family, format, step, digest of the weights, versions.
    """

    classes: tuple[str, ...]
    fields: tuple[Field, ...]
    frame: str
    temporal: bool
    batch: int
    facts: Mapping[str, Any]

    def __call__(self, requests: Sequence[Request], states: Sequence[State] | None = None) -> list[Prediction]:
        """The boxes of each request.

        Args:
            states: of a temporal model: for each request the state of the prediction before it in its stream; an empty
                one at the beginning of a stream.

        Raises:
            DataError: a request that lacks a field, holds one of another dtype or shape, or values that cannot be;
                says which request and which field.
        """
        ...

    def samples(self, data_root: str | None = None) -> SampleSource:
        """Real samples of the data that the run was evaluated on, as requests."""
        ...


class SampleSource(Protocol):
    """Samples of a data set as requests, for checks and examples."""

    tokens: Sequence[str]

    def request(self, index: int) -> Request:
        """The request that asks for sample ``index``."""
        ...

    def order(self, count: int) -> list[tuple[int, bool]]:
        """``count`` samples to look at, as (index, whether it begins a stream): spread over the split, or for a
        temporal model whole streams in order of time."""
        ...


def no_boxes(samples: int) -> dict[str, Any]:
    """The fields of a batch that nothing is known of in inference: boxes and labels."""
    return {
        "boxes": [np.zeros((0, 9), np.float32) for _ in range(samples)],
        "labels": [np.zeros(0, np.int64) for _ in range(samples)],
    }
