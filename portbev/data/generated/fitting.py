"""A configuration that was written for other data, on generated data: one error with all that must be set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from portbev.config import RunConfig
from portbev.config.section import keys_of
from portbev.config.typed import is_ours, with_settings
from portbev.config.written import written
from portbev.data.base import Part
from portbev.data.generated.known import Generated, generated, prefix_of
from portbev.data.root import lasting_root
from portbev.errors import ConfigError
from portbev.nn.image_backbone import SECTION, FrozenRandomError
from portbev.plugins import plugins


def fit_generated(
    config: RunConfig,
    data_root: Path | str | None,
    command: Sequence[str],
    *,
    processes: int = 1,
    frozen: FrozenRandomError | None = None,
    part: Part = "train",
) -> None:
    """Raise one error that has every setting which ``config`` needs to work on generated data, if they are such.

    A data set's scheme and the model's family know the settings (:attr:`portbev.data.generated.scheme.Scheme.needs`,
    and a method ``needs(config, options)`` that a :class:`portbev.models.ModelFamily` may have).

    Args:
        command: what was typed, which the error repeats with the settings.
        processes: of a training; 0 where nothing is trained.
        frozen: why the model has no weights to start from.
        part: an evaluation asks for less: for what the data are, and which split.

    Raises:
        ConfigError: settings are missing; or both data and weights are. Nothing is raised for other data.
    """
    given = data_root or config.data.root
    if not given and frozen is not None:
        cure = f"Give the data: --data-root DIR. {frozen.cure}"
        raise ConfigError(f"no data root, and {frozen.what}", where=frozen.where, cure=cure)
    data = generated(lasting_root(given) if given else None)
    if data is None:
        return
    _same_data_set(config, data, str(given))
    needed = _needed(config, data, processes) if part == "train" else _to_evaluate(config, data)
    thawed = {} if frozen is None else frozen.settings
    if needed or thawed:
        raise ConfigError(_what(config, needed, thawed), where=str(given), cure=_cure(command, needed, thawed))


def _same_data_set(config: RunConfig, data: Generated, given: str) -> None:
    kind = config.data.kind
    if kind in [one.name for one in data.data_set.kinds]:
        return
    prefix = prefix_of(kind)
    cure = f"Give data of its own: --data-root DIR{f', or --data-root {prefix} to generate some' if prefix else ''}"
    what = f"these data are generated in the form of {data.data_set.name}, and data.kind of {config.name} is {kind}"
    raise ConfigError(what, where=given, cure=cure)


def _to_evaluate(config: RunConfig, data: Generated) -> dict[str, Any]:
    return {key: value for key, value in data.needs(config).items() if key != "data.train_split"}


def _needed(config: RunConfig, data: Generated, processes: int) -> dict[str, Any]:
    """What ``config`` must say of the data, of the maps that the model takes of them, and of a step's size."""
    family = plugins().models()[config.model.family]
    of_model = getattr(family, "needs", None)
    needed = {**data.needs(config), **(of_model(config, data.options) if of_model else {})}
    samples, train = data.training_samples(), config.train
    if samples is None or processes * train.batch_size * train.accumulate <= samples:
        return needed
    if train.accumulate > 1:
        needed["train.accumulate"] = 1
    if processes * train.batch_size > samples:
        needed["train.batch_size"] = max(1, samples // processes)
    return needed


def _what(config: RunConfig, needed: Mapping[str, Any], thawed: Mapping[str, Any]) -> str:
    says = {key: value for key, value, _ in keys_of(config)}
    wrong = [f"{key} is {written(_plain(says.get(key)))}" for key in needed]
    wrong += ["frozen layers of the image backbone have no weights"] * bool(thawed)
    return f"these data are generated, and {config.name} is written for others: {', '.join(wrong)}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _cure(command: Sequence[str], needed: Mapping[str, Any], thawed: Mapping[str, Any]) -> str:
    settings = {**needed, **thawed}
    if is_ours(command):
        cure = f"Type: {with_settings(command, settings)}"
    else:
        cure = f"Set {' '.join(f'{key}={written(value)}' for key, value in settings.items())}"
    if thawed:
        cure += f" (with a file of weights, {SECTION}.weights=FILE in place of {' and '.join(thawed)})"
    return cure
