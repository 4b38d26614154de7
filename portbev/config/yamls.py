"""Reading YAML as people mean it: numbers as they look, no key twice, nothing that grows without bound."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from portbev.errors import ConfigError

_MOST_NODES = 100_000  # with every alias written out; the longest configuration that comes with portbev has 300
_LONGEST_FILE = 1 << 22  # bytes


def read_yaml(path: Path) -> Any:
    """The content of a YAML or JSON file; None where it is empty.

    Raises:
        ConfigError: a folder, unreadable, too long, not UTF-8, not valid YAML, or a key that stands twice in a mapping.
    """
    where = str(path)
    try:
        if path.stat().st_size > _LONGEST_FILE:
            raise ConfigError(f"has {path.stat().st_size} bytes, too many for a configuration", where=where)
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.start})"
        raise ConfigError(what, where=where, cure="Save it as UTF-8; a configuration is YAML") from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", where=where) from error
    if path.suffix == ".json":  # YAML takes JSON, but not when it is indented with tabs
        try:
            return json.loads(text, object_pairs_hook=lambda pairs: _each_once(pairs, where))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"not valid JSON: {error}", where=where) from error
    return parse_yaml(text, where)


def parse_yaml(text: str, where: str) -> Any:
    """The value that ``text`` says.

    Raises:
        ConfigError: not valid YAML, several documents, a key twice, or aliases that repeat without end.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, where, {}, ())
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {' '.join(str(error).split())}", where=where) from error
    except RecursionError as error:
        raise ConfigError("not valid YAML: nested too deeply", where=where) from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 1e-4 as text, 010 as 8, 1:30 as 90, 2024-01-01 as a date, off as false; people mean what they see.

    In sections of the configuration every field has a type, so what is left as text is read by that.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 (as in its base class)
        first: [(tag, pattern) for tag, pattern in kinds if not tag.endswith((":int", ":float", ":timestamp", ":bool"))]
        for first, kinds in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:(?:\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+|\d[\d_]*\.\d*|\.\d+|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE)$"),
    list("yYnNtTfF"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][\d_]*|0x[\da-fA-F]+)$"), list("-+0123456789")
)


def _size(node: yaml.Node, where: str, known: dict[int, int], inside: tuple[int, ...]) -> int:
    """Values below ``node`` with its aliases written out; refuses circles, floods and keys that stand twice."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in inside:
        raise ConfigError(f"line {_line(node)}: a value contains itself", where=where)
    inside = (*inside, id(node))
    total = 1
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, where)
        total += sum(_size(value, where, known, inside) + 1 for _, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        total += sum(_size(value, where, known, inside) for value in node.value)
    if total > _MOST_NODES:
        raise ConfigError(f"line {_line(node)}: more than {_MOST_NODES} values", where=where)
    known[id(node)] = total
    return total


def _check_keys(node: yaml.MappingNode, where: str) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"line {_line(key)}: a key must be a word", where=where)
        if key.value in lines and key.tag != "tag:yaml.org,2002:merge":
            what = f"key {key.value!r} stands twice, on lines {lines[key.value]} and {_line(key)}"
            raise ConfigError(what, where=where, cure="Keep one of them")
        lines[key.value] = _line(key)


def _each_once(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ConfigError(f"key {twice!r} stands twice in one mapping", where=where, cure="Keep one of them")
    return dict(pairs)


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1
