"""Configuration files that extend each other, and what is set over them; who said what is kept for the messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portbev.config.section import flatten
from portbev.config.shipped import shipped_configs, shipped_root
from portbev.config.yamls import parse_yaml, read_yaml
from portbev.errors import ConfigError

Path_ = tuple[str, ...]


@dataclass
class Layers:
    """A configuration before it is validated.

    Attributes:
        raw: the merged values.
        source: whom to name for what no part says.
        said: path of a key -> the file that said it last.
        settings: path of a key -> the item of ``--set`` that set it.
    """

    raw: dict[str, Any]
    source: str
    said: dict[Path_, str] = field(default_factory=dict)
    settings: dict[Path_, str] = field(default_factory=dict)

    def origin(self, path: Iterable[str]) -> str:
        """Who said the value at ``path``: a setting, or the file that said it last and the settings inside it."""
        path = tuple(path)
        above = [item for key, item in self.settings.items() if key == path[: len(key)]]
        if above:
            return f"--set {above[-1]}"
        inside = [item for key, item in self.settings.items() if path and key[: len(path)] == path]
        if inside and path not in self.said:
            return " ".join(f"--set {item}" for item in inside)
        files = (self.said[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self.said)
        kind = {("model", "family"), ("data", "kind")}  # set: the keys of the file are those of another schema
        inside += [item for key, item in self.settings.items() if key in kind and key[:1] == path[:1]]
        return " with ".join([next(files, self.source), *(f"--set {item}" for item in dict.fromkeys(inside))])

    def says(self, path: Iterable[str]) -> str | None:
        """Who said the value at ``path``, or a word in the place of its section; None where it is a default."""
        path, place = tuple(path), self.raw
        for length, part in enumerate(path, 1):
            if part not in place:
                return None
            place = place[part]
            if length == len(path) or not isinstance(place, dict):
                return self.origin(path[:length])
        return None


def read_files(path: Path, _seen: tuple[Path, ...] = ()) -> Layers:
    """A YAML file merged over the files that it ``extends`` (see :func:`read_layers`).

    Raises:
        ConfigError: a file is missing, no mapping, not valid, or extends itself.
    """
    path = path.resolve()
    if path in _seen:
        raise ConfigError("extends itself", where=" -> ".join(p.name for p in (*_seen, path)), cure="Break the circle")
    if path.suffix == ".py":
        cure = "Write it in YAML, or start from one that comes with portbev and change it with --set"
        raise ConfigError("is a Python file; portbev's configurations are YAML", where=str(path), cure=cure)
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        what = "is empty" if raw is None else "holds no mapping"
        raise ConfigError(what, where=str(path), cure="A configuration is a mapping of sections")
    layers = Layers({}, str(path))
    for base in _bases(raw.pop("extends", []), path):
        below = read_files(base, (*_seen, path))
        layers.raw, layers.said = merge(layers.raw, below.raw), {**layers.said, **below.said}
    _strings(raw, path)
    layers.raw = merge(layers.raw, raw)
    layers.said.update(dict.fromkeys(_paths(raw), str(path)))
    return layers


def of_mapping(raw: dict[str, Any], source: str) -> Layers:
    """What ``source`` says, which is no file."""
    return Layers(raw, source, dict.fromkeys(_paths(raw), source))


def read_layers(path: Path) -> dict[str, Any]:
    """A YAML file merged over the files that it ``extends``: a name or a list, relative to it; later ones win."""
    return read_files(path).raw


def find_config(name: Path | str) -> Path:
    """The file that ``name`` means: a path, or a configuration that comes with portbev.

    Raises:
        ConfigError: there is none, or it is a folder.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = shipped_root()
    inner = Path(str(name).removeprefix("configs/"))
    for candidate in (shipped / inner, shipped / f"{inner}.yaml"):
        if candidate.is_file():
            return candidate
    if (path / "run.json").is_file():
        cure = f"To continue that run: portbev train --resume --out {name}"
        raise ConfigError("is a run, not a configuration", where=str(name), cure=cure)
    asked = str(name).removeprefix("configs/").removesuffix(".yaml")
    near = difflib.get_close_matches(asked, shipped_configs(), n=1, cutoff=0.5)
    cure = (f"Did you mean {near[0]!r}? " if near else "") + "What comes with portbev: portbev configs"
    what = "is a folder, not a configuration" if path.is_dir() else "no such configuration"
    raise ConfigError(what, where=str(name), cure=cure)


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """``top`` over ``base``: mappings merge key by key, everything else is replaced."""
    result = dict(base)
    for key, value in top.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


def override(layers: Layers, items: Iterable[str]) -> None:
    """Set ``key.path=value`` items, values in YAML.

    Raises:
        ConfigError: an item that cannot be read, or that another one undoes.
    """
    meant: dict[Path_, tuple[str, Any]] = {}
    for item in items:
        path, value = _read(item)
        _set(layers.raw, path, value, item)
        meant[path] = (_undone(meant, path, value, item), value)
        layers.settings[path] = item


def _read(item: str) -> tuple[Path_, Any]:
    key, separator, text = item.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not separator or not all(path):
        raise ConfigError(f"cannot read {item!r}", where="--set", cure="Write key.path=value: optimizer.lr=1e-4")
    if not text.strip():
        cure = f"""Write {key}=null for none, or {key}='""' for an empty text"""
        raise ConfigError(f"{key} has no value", where="--set", cure=cure)
    try:
        return path, parse_yaml(text, "--set")
    except ConfigError as error:
        cure = """Quote it for the shell and, if it is text, once more: --set 'key="value"'"""
        raise ConfigError(f"value of {key} is {error.what[:200]}: {text[:80]!r}", where="--set", cure=cure) from error


def _set(raw: dict[str, Any], path: Path_, value: Any, item: str) -> None:
    place = raw
    for folder in path[:-1]:
        inner = place.get(folder)
        if inner is None:
            inner = place[folder] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{folder!r} in {'.'.join(path)!r} is a value, not a section", where="--set")
        place = inner
    before = place.get(path[-1])
    if isinstance(before, dict) and isinstance(value, dict) and value:
        dropped = [key for key in before if key not in value]
        if dropped:
            names = ", ".join(".".join((*path, str(key))) for key in dropped)
            cure = f"Set its keys one by one: --set {'.'.join(path)}.{next(iter(value))}=..."
            raise ConfigError(f"would drop {names}", where=f"--set {item}", cure=cure)
    place[path[-1]] = value


def _undone(meant: Mapping[Path_, tuple[str, Any]], path: Path_, value: Any, item: str) -> str:
    """``item``, which must not take back what an earlier item said."""
    for earlier, (said, old) in meant.items():
        inner = path[len(earlier) :]
        given = flatten(old, "value") if isinstance(old, dict) else {}
        again = earlier == path or path == earlier[: len(path)] or ".".join(("value", *inner)) in given
        if again and not (earlier == path and old == value):
            raise ConfigError(f"{said!r} and {item!r} set the same key", where="--set", cure="Give one of them")
    return item


def _bases(value: Any, path: Path) -> list[Path]:
    """The files that ``extends`` names: relative to the file that says it, or such as come with portbev."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        what = f"extends: should be the name of a file or a list of names, got {value!r}"
        raise ConfigError(what, where=str(path))
    found = []
    for name in names:
        target = path.parent / Path(name).expanduser()
        if not target.is_file():
            try:
                target = find_config(name)
            except ConfigError as error:
                raise ConfigError(
                    f"extends {name!r}, which does not exist", where=str(path), cure=error.cure
                ) from error
        found.append(target)
    return found


def _strings(raw: Mapping[Any, Any], path: Path, prefix: str = "") -> None:
    """Refuse keys that are no text: a bare yes, 1 or null."""
    for key, value in raw.items():
        if not isinstance(key, str):
            what = f"key {prefix}{key!r} is no text"
            raise ConfigError(what, where=str(path), cure="Put it in quotation marks if it is meant")
        if isinstance(value, dict):
            _strings(value, path, f"{prefix}{key}.")


def _paths(value: Mapping[str, Any], above: Path_ = ()) -> Iterable[Path_]:
    for key, inner in value.items():
        yield (*above, key)
        if isinstance(inner, dict):
            yield from _paths(inner, (*above, key))
