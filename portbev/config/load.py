"""Reading configurations: inheritance, overrides, one clear line for every mistake."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from portbev.config.layers import Layers, find_config, of_mapping, override, read_files
from portbev.config.meaning import Meaning
from portbev.config.schema import RunConfig
from portbev.config.section import keys_of
from portbev.errors import ConfigError, nearest
from portbev.plugins import Plugins, plugins

if TYPE_CHECKING:
    from portbev.models import ModelFamily


def load_config(
    source: Path | str | Mapping[str, Any], overrides: Iterable[str] = (), *, among: Plugins | None = None
) -> RunConfig:
    """Read, merge and validate a configuration.

    Args:
        source: a YAML file, the name of a configuration that comes with portbev (``bevdepth/laptop``), or a mapping.
        overrides: ``key.path=value`` items, values in YAML: ``optimizer.lr=1e-4``, ``data.sweeps=[0,1]``.

    Raises:
        ConfigError: missing file, circular ``extends``, YAML error, unknown key (with the nearest name), wrong type.
    """
    return validated(layers_of(source, overrides), among)


def layers_of(source: Path | str | Mapping[str, Any], overrides: Iterable[str] = ()) -> Layers:
    """A configuration as its files and settings say it, before anything is validated (see :func:`load_config`)."""
    if isinstance(source, Mapping):
        layers = of_mapping(copy.deepcopy(dict(source)), "configuration")
    else:
        layers = read_files(find_config(source))
    override(layers, overrides)
    return layers


def validated(layers: Layers, among: Plugins | None = None) -> RunConfig:
    """The configuration that ``layers`` say.

    Raises:
        ConfigError: see :func:`load_config`.
    """
    raw, found = dict(layers.raw), among or plugins()
    family = _family(layers, found)
    if family is not None:
        raw["model"] = _validate(family.config, raw["model"], layers, ("model",))
        raw["data"] = _data_section(family, layers, found)
    config: RunConfig = _validate(RunConfig, raw, layers)
    agreement(config, among=found)
    return config


def agreement(config: RunConfig, *, among: Plugins | None = None) -> list[str]:
    """Notes of the model's family on how the sections ``model`` and ``data`` go together.

    Raises:
        ConfigError: they do not.
    """
    notes: list[str] = (among or plugins()).models()[config.model.family].agree(config)
    return notes


def dump_config(config: RunConfig) -> dict[str, Any]:
    """The resolved configuration as JSON values; :func:`load_config` takes it back."""
    return config.model_dump(mode="json")


def config_digest(config: RunConfig) -> str:
    """SHA-256 of what is computed: runs of one digest are the same experiment, whatever they are computed with."""
    content = {key: value for key, value, meaning in keys_of(config) if meaning.is_experiment}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def meanings(config: RunConfig) -> dict[str, Meaning]:
    """Key -> meaning, for every key of the resolved configuration."""
    return {key: meaning for key, _, meaning in keys_of(config)}


def _validate(schema: type[Any], raw: Any, layers: Layers, prefix: tuple[str, ...] = ()) -> Any:
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        key, where = ".".join([*prefix, *path]), layers.origin((*prefix, *path))
        kind, given = first["type"], _short(first["input"])
        if kind == "extra_forbidden":
            cure = _elsewhere(path[-1], key) or nearest(path[-1], _names(schema, path[:-1]), label="Known here")
            raise ConfigError(f"unknown key {key!r}", where=where, cure=cure) from error
        if kind == "missing":
            raise ConfigError(f"key {key!r} is missing", where=where) from error
        if kind in ("model_type", "model_attributes_type"):
            cure = nearest("", _names(schema, path), label="Its keys are")
            raise ConfigError(f"{key}: should be a section, got {given}", where=where, cure=cure) from error
        text = kind == "string_type" and isinstance(first["input"], (bool, int, float))
        cure = f"""Quote it if it is meant as text: {key}='"{first["input"]}"'""" if text else ""
        said = first["msg"].removeprefix("Value error, ")
        what = f"{key}: {said}" if key else said
        if not isinstance(first["input"], (Mapping, BaseModel)):
            what += f", got {given}"
        raise ConfigError(what, where=where, cure=cure) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _names(schema: type[BaseModel], path: list[str]) -> list[str]:
    """The keys of the section at ``path``."""
    for part in path:
        annotation = schema.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        schema = annotation
    return list(schema.model_fields)


def _elsewhere(name: str, key: str) -> str:
    """Where the framework's own sections have a key of that name: it may only stand in the wrong one."""
    homes = [
        f"{section}.{name}"
        for section, field in RunConfig.model_fields.items()
        if section not in ("model", "data")
        and isinstance(field.annotation, type)
        and issubclass(field.annotation, BaseModel)
        and name in field.annotation.model_fields
    ]
    return f"Did you mean {' or '.join(map(repr, homes))}?" if homes and key not in homes else ""


def _family(layers: Layers, among: Plugins) -> ModelFamily | None:
    """The model family that ``model`` names; None where the framework's own schema will say what is missing."""
    section = layers.raw.get("model")
    if section is None:
        return None
    if not isinstance(section, Mapping):
        what = f"model: should be a section, got {_short(section)}"
        raise ConfigError(what, where=layers.origin(("model",)))
    name, families, where = section.get("family"), among.models(), layers.origin(("model", "family"))
    if name is None:
        raise ConfigError("key 'model.family' is missing", where=where, cure=nearest("", families))
    if not isinstance(name, str) or name not in families:
        cure = nearest(str(name), families) + among.said()
        raise ConfigError(f"unknown model family {_short(name)}", where=where, cure=cure)
    return families[name]


def _data_section(family: ModelFamily, layers: Layers, among: Plugins) -> Any:
    """The ``data`` section by the schema of its kind; without a kind it is the first that the family takes."""
    raw, where = layers.raw.get("data"), layers.origin(("data",))
    if raw is None:
        raise ConfigError("key 'data' is missing", where=where)
    if not isinstance(raw, Mapping):
        raise ConfigError(f"data: should be a section, got {_short(raw)}", where=where)
    kinds, where = among.data_kinds(), layers.origin(("data", "kind"))
    takes = tuple(family.takes)
    name = raw.get("kind") or (takes[0] if takes else None)
    if name is None:
        raise ConfigError("key 'data.kind' is missing", where=where, cure=nearest("", kinds))
    if not isinstance(name, str) or name not in kinds:
        cure = nearest(str(name), kinds) + among.said()
        raise ConfigError(f"unknown data.kind {_short(name)}", where=where, cure=cure)
    if takes and name not in takes:
        cure = f"Set data.kind to {' or '.join(takes)}, or choose a model that takes {name}"
        raise ConfigError(
            f"data.kind is {name}, which model family {family.name} does not take", where=where, cure=cure
        )
    return _validate(kinds[name].section, {**raw, "kind": name}, layers, ("data",))
