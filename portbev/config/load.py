"""Reading configurations: inheritance, overrides, one clear line for every mistake."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

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
    if isinstance(source, Mapping):
        where, raw = "configuration", copy.deepcopy(dict(source))
    else:
        path = find_config(source)
        where, raw = str(path), read_layers(path)
    for item in overrides:
        _override(raw, item)
    found = among or plugins()
    family = _family(raw, where, found)
    if family is not None:
        raw["model"] = _validate(family.config, raw["model"], where, prefix="model")
        raw["data"] = _data_section(raw.get("data"), family, where, found)
    config: RunConfig = _validate(RunConfig, raw, where)
    agreement(config, among=found)
    return config


def agreement(config: RunConfig, *, among: Plugins | None = None) -> list[str]:
    """Notes of the model's family on how the sections ``model`` and ``data`` go together.

    Raises:
        ConfigError: they do not.
    """
    notes: list[str] = (among or plugins()).models()[config.model.family].agree(config)
    return notes


def find_config(name: Path | str) -> Path:
    """The file that ``name`` means: a path, or a configuration that comes with portbev."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = _shipped_root()
    inner = Path(str(name).removeprefix("configs/"))
    for candidate in (shipped / inner, shipped / inner.with_suffix(".yaml")):
        if candidate.is_file():
            return candidate
    files = (p for p in shipped.rglob("*.yaml") if not p.name.startswith("_"))
    known = [str(p.relative_to(shipped).with_suffix("")) for p in files]
    cure = nearest(str(inner.with_suffix("")), known, label="With portbev come")
    raise ConfigError("no such configuration", where=str(name), cure=cure)


def read_layers(path: Path, _seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A YAML file merged over the files that it ``extends`` (a name or a list, relative to it; later ones win)."""
    path = path.resolve()
    if path in _seen:
        raise ConfigError("extends itself", where=" -> ".join(p.name for p in (*_seen, path)), cure="Break the circle")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_YamlLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {' '.join(str(error).split())}", where=str(path)) from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if not isinstance(raw, dict):
        raise ConfigError("holds no mapping", where=str(path), cure="A configuration is a mapping of sections")
    bases = raw.pop("extends", [])
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        target = path.parent / base
        if not target.is_file():
            raise ConfigError(f"extends {base!r}, which does not exist", where=str(path))
        merged = merge(merged, read_layers(target, (*_seen, path)))
    return merge(merged, raw)


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """``top`` over ``base``: mappings merge key by key, everything else is replaced."""
    result = dict(base)
    for key, value in top.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


def dump_config(config: RunConfig) -> dict[str, Any]:
    """The resolved configuration as JSON values; :func:`load_config` takes it back."""
    return config.model_dump(mode="json")


def config_digest(config: RunConfig) -> str:
    """SHA-256 of what is computed: runs of one digest are the same experiment, whatever they are computed with."""
    content = {key: value for key, value, meaning in keys_of(config) if meaning is Meaning.WHAT}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def meanings(config: RunConfig) -> dict[str, Meaning]:
    """Key -> meaning, for every key of the resolved configuration."""
    return {key: meaning for key, _, meaning in keys_of(config)}


class _YamlLoader(yaml.SafeLoader):
    """YAML 1.1 reads 1e-4 as text; people mean the number."""


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _override(raw: dict[str, Any], item: str) -> None:
    key, separator, text = item.partition("=")
    if not separator or not key:
        raise ConfigError(f"cannot read {item!r}", where="--set", cure="Write key.path=value: optimizer.lr=1e-4")
    try:
        value = yaml.load(text, Loader=_YamlLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"value of {key} is not valid YAML: {text!r}", where="--set") from error
    place = raw
    *folders, leaf = key.split(".")
    for folder in folders:
        inner = place.setdefault(folder, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{folder!r} in {key!r} is a value, not a section", where="--set")
        place = inner
    place[leaf] = value


def _validate(schema: type[Any], raw: Any, where: str, prefix: str = "") -> Any:
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        key = ".".join([prefix, *path] if prefix else path)
        if first["type"] == "extra_forbidden":
            cure = _elsewhere(path[-1], key) or nearest(path[-1], _names(schema, path[:-1]), label="Known here")
            raise ConfigError(f"unknown key {key!r}", where=where, cure=cure) from error
        if first["type"] == "missing":
            raise ConfigError(f"key {key!r} is missing", where=where) from error
        raise ConfigError(f"{key}: {first['msg']}, got {first['input']!r}", where=where) from error


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


def _family(raw: Mapping[str, Any], where: str, among: Plugins) -> ModelFamily | None:
    """The model family that ``model`` names; None where the framework's own schema will say what is missing."""
    section = raw.get("model")
    if section is None:
        return None
    if not isinstance(section, Mapping):
        raise ConfigError(f"model: should be a section, got {section!r}", where=where)
    name, families = section.get("family"), among.models()
    if name is None:
        raise ConfigError("key 'model.family' is missing", where=where, cure=nearest("", families))
    if name not in families:
        raise ConfigError(
            f"unknown model family {name!r}", where=where, cure=nearest(str(name), families) + among.said()
        )
    return families[name]


def _data_section(raw: Any, family: ModelFamily, where: str, among: Plugins) -> Any:
    """The ``data`` section by the schema of its kind; without a kind it is the first that the family takes."""
    if raw is None:
        raise ConfigError("key 'data' is missing", where=where)
    if not isinstance(raw, Mapping):
        raise ConfigError(f"data: should be a section, got {raw!r}", where=where)
    kinds = among.data_kinds()
    takes = tuple(family.takes)
    name = raw.get("kind") or (takes[0] if takes else None)
    if name is None:
        raise ConfigError("key 'data.kind' is missing", where=where, cure=nearest("", kinds))
    if name not in kinds:
        cure = nearest(str(name), kinds) + among.said()
        raise ConfigError(f"unknown data.kind {name!r}", where=where, cure=cure)
    if takes and name not in takes:
        cure = f"Set data.kind to {' or '.join(takes)}, or choose a model that takes {name}"
        raise ConfigError(
            f"data.kind is {name}, which model family {family.name} does not take", where=where, cure=cure
        )
    return _validate(kinds[name].section, {**raw, "kind": name}, where, prefix="data")


def _shipped_root() -> Path:
    """Configurations inside the installed package, or those of the source tree in an editable install."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"
