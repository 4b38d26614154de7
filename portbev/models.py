"""What a model family offers, and the values that data, models, training and metrics exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from portbev.config.schema import ModelSection, RunConfig
from portbev.errors import ConfigError
from portbev.nn.misfit import Hint
from portbev.nn.pretrained import Imported

if TYPE_CHECKING:
    from typing_extensions import NotRequired


Prepare = Callable[[Any], Any]
"""From a batch on the host to what the model would otherwise compute of it on the host in each step."""


class Batch(TypedDict):
    """B samples. Every kind of data has these fields; each kind adds its own. See also :func:`move_batch`.

    ``boxes``: B arrays (n,9) float32 [x y z dx dy dz yaw vx vy] in the sample's frame, z = box centre.
    ``labels``: B arrays (n,) int64; indices into the data set's ``classes``.
    ``tokens``: sample tokens.
    ``frame2global`` (B,4,4) float64: pose of the frame that boxes and detections are in.
    ``prepared``: what the model's :meth:`DetectionModel.preparation` made of the batch; of any form.
    """

    boxes: list[NDArray[np.float32]]
    labels: list[NDArray[np.int64]]
    tokens: list[str]
    frame2global: NDArray[np.float64]
    prepared: NotRequired[Any]


@dataclass
class Detections:
    """Boxes found in one sample, in the batch's frame (``frame2global``).

    ``boxes`` (n,9) [x y z dx dy dz yaw vx vy], z = centre; ``scores`` (n,); ``labels`` (n,).
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


class DetectionModel(nn.Module):
    """The methods that training and evaluation call on a model. A batch is of the data kind that the family takes.

    Attributes:
        classes: names of the classes that it finds, in the order of its outputs; None: all of its data set.
        compiled_parts: names of the modules that ``compute.compile: parts`` compiles: those that torch.compile traces
            whole and whose sizes stay from step to step.
        weight_hints: which weights show which setting, for the message about a checkpoint that does not fit.
    """

    classes: tuple[str, ...] | None = None
    compiled_parts: tuple[str, ...] = ()
    weight_hints: tuple[Hint, ...] = ()

    def load_pretrained(self) -> list[str]:
        """Load the files of weights that the configuration names into the model as it was built.

        Training calls it where a run starts anew, without a checkpoint; models that start at random do nothing.

        Returns:
            Notes on what was read.

        Raises:
            ConfigError: layers that do not train would keep random weights.
            CheckpointError: a file cannot be read or does not fit.
        """
        return []

    def preparation(self, *, training: bool) -> Prepare | None:
        """What the data's workers shall compute of each batch before the model gets it; None: nothing.

        It is for whatever depends on the batch alone and is computed on the host. The result is the batch's
        ``prepared``: tensors in named tuples, lists, tuples and mappings, which go to the device with the batch, and
        other values, which stay. The function is sent to worker processes: it can be pickled and holds no weights. The
        model must do without it for batches that no loader made, see :func:`with_prepared`.

        Args:
            training: whether losses will be asked for.
        """
        return None

    def begin_stream(self, state: Mapping[str, Tensor] | None = None) -> None:
        """Forget earlier frames. The evaluation calls it before its first batch; models without memory do nothing.

        Args:
            state: what :meth:`remembered` returned after the frame that the next one continues; None: of none.
        """

    def remembered(self) -> dict[str, Tensor]:
        """What the model remembers of the frames so far, by name, on the CPU; nothing for models without memory."""
        return {}

    def forward(self, batch: Any) -> Any:
        """Raw outputs for a batch whose device tensors are on the model's device."""
        raise NotImplementedError

    def losses(self, outputs: Any, batch: Any, *, mean_over_ranks: Any = None) -> dict[str, Tensor]:
        """Loss terms as scalars; the training loss is their sum. Targets are computed on the host.

        It is called outside autocast, with half-precision outputs converted to float32
        (:func:`portbev.outputs.in_float32`). ``mean_over_ranks`` is a function float -> float that averages a
        normaliser over the ranks; None with one process.
        """
        raise NotImplementedError

    def decode(self, outputs: Any, batch: Any) -> list[Detections]:
        """The detections in each sample."""
        raise NotImplementedError


@runtime_checkable
class ModelFamily(Protocol):
    """A family of models, offered by the hook ``portbev_models``.

    Attributes:
        name: value of ``model.family`` in a configuration.
        config: schema of the ``model`` section; a :class:`portbev.config.schema.ModelSection`.
        takes: kinds of data that its models read; ``data.kind`` is the first of them where it is left out.
    """

    name: str
    config: type[ModelSection]
    takes: tuple[str, ...]

    def build(self, config: Any) -> DetectionModel:
        """A model on the CPU with initial weights drawn from torch's generator. It reads no file.

        ``config`` is an instance of the schema :attr:`config`.
        """
        ...

    def agree(self, config: RunConfig) -> list[str]:
        """Compare the ``model`` section with the others; ``data`` is of a kind that the family takes.

        Returns:
            Notes on what is allowed but seldom meant.

        Raises:
            ConfigError: they cannot be used together; the message has both keys and both values.
        """
        ...

    def import_state(self, checkpoint: Mapping[str, Any], model: DetectionModel, *, partial: bool = False) -> Imported:
        """A whole state of ``model`` with the weights of a checkpoint of the original implementation, or of ours.

        :func:`portbev.nn.pretrained.fit_state` does it for names that are mapped one to one.

        Args:
            partial: take what fits, and note what does not.

        Raises:
            CheckpointError: no weights of this model in it; or, unless ``partial``, missing or unexpected keys or
                shapes, listed.
        """
        ...


def build_model(family: ModelFamily, section: Any) -> DetectionModel:
    """A model of ``family`` with the sizes of its ``model`` section.

    Raises:
        ConfigError: torch cannot make layers of these sizes.
    """
    try:
        return family.build(section)
    except (RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        cure = "Look for a size that is too large, or that does not go with another (--debug shows where)"
        raise ConfigError(f"the model cannot be built: {reason}", where="model", cure=cure) from error


class MeanOverRanks:
    """What training gives to :meth:`DetectionModel.losses` as ``mean_over_ranks``.

    Args:
        vector: averages several floats over the ranks, each by itself; the host waits for it.
    """

    def __init__(self, vector: Callable[[Sequence[float]], list[float]]) -> None:
        self.vector = vector

    def __call__(self, value: float) -> float:
        return self.vector([value])[0]


def means(values: Sequence[float], mean_over_ranks: Callable[[float], float] | None) -> list[float]:
    """Several normalisers averaged over the ranks, in one exchange where that is possible."""
    if mean_over_ranks is None:
        return list(values)
    if isinstance(mean_over_ranks, MeanOverRanks):
        return mean_over_ranks.vector(values)
    return [mean_over_ranks(value) for value in values]


def move_batch(batch: Batch, device: torch.device) -> Batch:
    """The batch with every top-level tensor on ``device``, and all of ``prepared``; the rest stays on the host.

    Nobody waits for copies out of pinned memory (``compute.pin_memory``).
    """
    moved = {key: _moved(value, device) if isinstance(value, Tensor) else value for key, value in batch.items()}
    if "prepared" in moved:
        moved["prepared"] = _moved(moved["prepared"], device)
    return cast(Batch, moved)


def with_prepared(batch: Any, prepare: Prepare, device: torch.device) -> Any:
    """The batch with ``prepared`` on ``device``; computed here and now for a batch that no loader prepared."""
    if "prepared" in batch:
        return batch
    return {**batch, "prepared": _moved(prepare(batch), device)}


def _moved(value: Any, device: torch.device) -> Any:
    """A nested value with its tensors on ``device``."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: _moved(one, device) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(one, device) for one in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(one, device) for one in value)
    return value
