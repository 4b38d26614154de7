"""A configuration of another project as one of this project's: the YAML file, and an account of what is different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from portbev.config import load_config
from portbev.config.written import written
from portbev.convert.reading import Reading, short
from portbev.convert.source import Source, read_source
from portbev.errors import ConfigError
from portbev.plugins import plugins

_ROOTS = frozenset(
    (
        "model",
        "data",
        "optimizer",
        "optimizer_config",
        "lr_config",
        "runner",
        "total_epochs",
        "evaluation",
        "load_from",
        "resume_from",
        "fp16",
        "custom_hooks",
        "checkpoint_config",
        "log_config",
        "find_unused_parameters",
        "momentum_config",
        "workflow",
        "optim_wrapper",
        "param_scheduler",
        "train_cfg",
        "val_cfg",
        "test_cfg",
        "train_dataloader",
        "val_dataloader",
        "val_evaluator",
    )
)
"""Names of the top level that mean something by themselves; others are helpers where other values take them."""
_SECTIONS = ("name", "model", "data", "optimizer", "schedule", "train", "eval", "compute")


class ConfigReader(Protocol):
    """How a model family reads the configurations of its original; offered by the hook ``portbev_config_readers``.

    Attributes:
        name: of the family.
        originals: what it recognises, for a message.
    """

    name: str
    originals: str

    def recognises(self, source: Source) -> bool:
        """Whether this is a configuration of the family's original."""
        ...

    def read(self, reading: Reading) -> None:
        """Take what has a counterpart, and say of the rest what is known (see :class:`Reading`)."""
        ...


@dataclass(frozen=True)
class Converted:
    """A configuration that was converted.

    Attributes:
        values: this project's, nested, as YAML has them.
        text: the YAML file.
        different: (path, value, what is done here instead).
        without: (path, value) without a counterpart here.
        aside: why -> paths that are not needed here.
        notes: what a person should know.
    """

    values: dict[str, Any]
    text: str
    different: list[tuple[str, Any, str]]
    without: list[tuple[str, Any]]
    aside: dict[str, list[str]]
    notes: list[str]


def convert_config(path: Path | str, *, devices: int = 8, name: str = "") -> Converted:
    """Read a configuration of another project, without executing it, and say it as one of this project's.

    Args:
        devices: for how many devices its learning rate is meant, where it does not say.
        name: of the run; default: the file's stem.

    Raises:
        ConfigError: it cannot be read, no family knows it, or what it says makes no configuration here.
    """
    source = read_source(path)
    reader = _reader_of(source)
    reading = Reading(source, devices)
    reading.set("name", name or source.path.stem)
    reader.read(reading)
    values = _nested(reading.taken)
    try:
        load_config(values)
    except ConfigError as error:
        what = f"says what cannot be used here: {error.what}"
        raise ConfigError(what, where=str(path), cure=error.cure) from error
    helpers = source.used if source.kind == "config" else frozenset()
    without = reading.left(lambda root: root in _ROOTS or root not in helpers)
    aside: dict[str, list[str]] = {}
    for place, why in reading.aside.items():
        aside.setdefault(why, []).append(place)
    notes = [*source.notes, *reading.notes]
    if unsaid := reading.unsaid():
        notes.append(f"the file does not say, so that the defaults here stand: {', '.join(unsaid)}")
    return Converted(values, _yaml(reading, values), reading.different, without, aside, notes)


def _reader_of(source: Source) -> ConfigReader:
    readers: Mapping[str, ConfigReader] = plugins().config_readers()
    found = [reader for reader in readers.values() if reader.recognises(source)]
    if len(found) == 1:
        return found[0]
    known = "; ".join(f"{reader.name}: {reader.originals}" for reader in readers.values())
    model = source.values.get("model")
    kind = model.get("type", "") if isinstance(model, Mapping) else ""
    if source.kind == "experiment":
        kind = kind or "/".join(source.values.get("bases", [])[:3])
    what = f"is no configuration that a model family here knows (model {kind or 'not named'})"
    raise ConfigError(what, where=str(source.path), cure=f"Known are {known or 'none'}{plugins().said()}")


def _nested(taken: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, (value, _) in sorted(taken.items(), key=lambda item: _order(item[0])):
        *sections, last = key.split(".")
        into = nested
        for section in sections:
            into = into.setdefault(section, {})
        into[last] = list(value) if isinstance(value, tuple) else value
    return nested


def _order(key: str) -> int:
    section = key.partition(".")[0]
    return _SECTIONS.index(section) if section in _SECTIONS else len(_SECTIONS)


def _yaml(reading: Reading, values: Mapping[str, Any]) -> str:
    head = f"# Converted from {reading.source.path.name} by portbev convert config; beside a value: where it is from.\n"
    return head + "".join(f"{line}\n" for line in _lines(reading, values, ()))


def _lines(reading: Reading, values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for key, value in values.items():
        place, indent = ".".join((*path, key)), "  " * len(path)
        if place in reading.taken:
            origin = reading.taken[place][1]
            text = f"{indent}{key}: {written(value)}"
            yield f"{text:<48}  # {origin}" if origin else text
        else:
            yield f"{indent}{key}:"
            yield from _lines(reading, value, (*path, key))


def account(converted: Converted) -> Sequence[str]:
    """The lines that tell a person what is different, has no counterpart, or is not needed."""
    lines = []
    if converted.different:
        lines.append(f"different here ({len(converted.different)}):")
        lines += [f"  {path} = {short(value)}: {here}" for path, value, here in converted.different]
    if converted.without:
        lines.append(f"no counterpart here ({len(converted.without)}):")
        lines += [f"  {path} = {short(value)}" for path, value in converted.without]
    if converted.aside:
        lines.append("not needed here:")
        lines += [f"  {', '.join(paths)}: {why}" for why, paths in converted.aside.items()]
    return [*lines, *(f"note: {note}" for note in converted.notes)]
