"""What a model family offers to ``portbev bench``: configurations, and batches for them without data on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from portbev.config import RunConfig
from portbev.errors import ConfigError, nearest
from portbev.models import Batch, DetectionModel, build_model
from portbev.nn.dropout import prepare_dropout
from portbev.plugins import plugins

Part = Literal["train", "eval"]


@dataclass(frozen=True)
class BenchModel:
    """Returned by the hook ``portbev_bench_models``.

    Attributes:
        family: value of ``model.family`` of the configurations.
        official: names of configurations of the size that is published.
        quick: names of configurations that take seconds.
        batches: the batches of noise of ``train.batch_size`` (``train``) or ``eval.batch_size`` (``eval``) samples, in
            the sizes of a configuration, on the host. They are taken in order; the last one may be taken again and
            again.
    """

    family: str
    official: tuple[str, ...]
    quick: tuple[str, ...]
    batches: Callable[[RunConfig, Part], Sequence[Batch]]


def bench_models() -> dict[str, BenchModel]:
    """What the plugins offer, by family."""
    return plugins().bench_models()


def config_names(*, quick: bool) -> list[str]:
    """The configurations that are measured where none is named.

    Raises:
        ConfigError: no plugin offers any.
    """
    names = [name for model in bench_models().values() for name in (model.quick if quick else model.official)]
    if not names:
        cure = "Name a configuration of a family whose plugin implements portbev_bench_models" + plugins().said()
        raise ConfigError("no plugin offers a model to measure", cure=cure)
    return names


def batches_of(config: RunConfig, part: Part) -> Sequence[Batch]:
    """Batches for a configuration.

    Raises:
        ConfigError: its family offers none.
    """
    models = bench_models()
    if config.model.family not in models:
        cure = f"Its plugin would implement portbev_bench_models. {nearest(config.model.family, models)}"
        raise ConfigError("this family offers no batches to measure with", where=config.model.family, cure=cure)
    return models[config.model.family].batches(config, part)


def model_of(config: RunConfig) -> DetectionModel:
    """The model as training builds it, with new weights, on the CPU."""
    torch.manual_seed(config.train.seed)
    model = build_model(plugins().models()[config.model.family], config.model)
    prepare_dropout(model, config.train.seed)
    return model
