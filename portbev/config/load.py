"""Reading configurations: inheritance, overrides, one clear line for every mistake."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from portbev.config.schema import RunConfig
from portbev.errors import ConfigError, nearest
from portbev.plugins import Plugins, plugins


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
        where, raw = "configuration", dict(source)
    else:
        path = find_config(source)
        where, raw = str(path), read_layers(path)
    for item in overrides:
        _override(raw, item)
    config = _validate(RunConfig, raw, where)
    return _validate_model(config, where, among or plugins())


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


NEUTRAL_KEYS = ("name", "data.root", "data.workers", "train.log_every", "train.tensorboard")
"""Keys that cannot change a number: they are left out of :func:`config_digest`."""


LATER_KEYS: dict[str, Any] = {
    "optimizer.lr_multipliers": {},
    "schedule.warmup_start": None,
    "schedule.by_epoch": False,
    "train.loss_scale": "dynamic",
    "train.find_unused_parameters": False,
}
"""Keys that came after runs were recorded, with the value under which everything is as before: left out of the digest
then, so that an old run and a new one of the same settings have the same."""


def config_digest(config: RunConfig) -> str:
    """SHA-256 of the resolved configuration without :data:`NEUTRAL_KEYS`; the same across versions."""
    content = dump_config(config)
    for key in NEUTRAL_KEYS:
        section, leaf = _leaf(content, key)
        section.pop(leaf)
    for key, default in LATER_KEYS.items():
        section, leaf = _leaf(content, key)
        if section[leaf] == default:
            section.pop(leaf)
    best = content["train"]["checkpoint"]
    best["best"] = best["best"] or "nd_score"  # as it was written before the benchmark chose
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _leaf(content: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    *folders, leaf = key.split(".")
    for folder in folders:
        content = content[folder]
    return content, leaf


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


def _validate(schema: type[Any], raw: Mapping[str, Any], where: str, prefix: str = "") -> Any:
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        path, names = _place(schema, [str(part) for part in first["loc"]])
        key = ".".join([prefix, *path] if prefix else path)
        if first["type"] == "extra_forbidden":
            cure = nearest(path[-1], names, label="Known here")
            raise ConfigError(f"unknown key {key!r}", where=where, cure=cure) from error
        if first["type"] == "missing":
            raise ConfigError(f"key {key!r} is missing", where=where) from error
        if first["type"] == "union_tag_invalid":
            tag, known = first["ctx"]["tag"], [name.strip("' ") for name in first["ctx"]["expected_tags"].split(",")]
            raise ConfigError(f"unknown {key}.kind {tag!r}", where=where, cure=nearest(tag, known)) from error
        raise ConfigError(f"{key}: {first['msg']}, got {first['input']!r}", where=where) from error


def _place(schema: type[BaseModel], loc: list[str]) -> tuple[list[str], list[str]]:
    """The key that pydantic's ``loc`` means, and the field names of the section that holds it.

    In a section of several kinds ``loc`` names the kind after the section, which is no key that a person wrote.
    """
    path: list[str] = []
    names = list(schema.model_fields)
    parts = iter(loc)
    for part in parts:
        path.append(part)
        names = list(schema.model_fields)
        found = schema.model_fields.get(part)
        kinds = [] if found is None else _sections(found.annotation)
        if not kinds:
            break
        schema = kinds[0]
        if len(kinds) > 1:
            tag = next(parts, None)
            schema = next((kind for kind in kinds if kind.model_fields["kind"].default == tag), schema)
    return [*path, *parts], names


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field's type allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for option in get_args(annotation) for section in _sections(option)]


def _validate_model(config: RunConfig, where: str, among: Plugins) -> RunConfig:
    """Fill the ``model`` section with the defaults of its family's schema."""
    families = among.models()
    name = config.model.family
    if name not in families:
        cure = nearest(name, families) + among.said()
        raise ConfigError(f"unknown model family {name!r}", where=where, cure=cure)
    options = _validate(families[name].config, config.family_options(), where, prefix="model")
    resolved = {"family": name, **options.model_dump(mode="json")}
    return config.model_copy(update={"model": type(config.model).model_validate(resolved)})


def _shipped_root() -> Path:
    """Configurations inside the installed package, or those of the source tree in an editable install."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"
