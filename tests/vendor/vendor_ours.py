"""What the npu backend calls of a vendor's package, and the stand-ins that imitate it, read from our own sources."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from vendor_python import Function

ROOT = Path(__file__).resolve().parents[2]
PROVIDERS = ROOT / "backends" / "portbev_npu"


@dataclass(frozen=True)
class Call:
    """A call of ``name`` with so many positional arguments (at least, where one is starred) and these keywords.

    ``**options`` stands for the keys of the dictionaries that the file's functions return.
    """

    where: str
    name: str
    positional: int
    starred: bool
    keywords: tuple[str, ...]


def calls(package: str) -> list[Call]:
    """Every call of a function of ``package`` in the npu backend; ``_C.name`` are those of its library.

    ``driving()`` is mx_driving.
    """
    return [one for path in sorted(PROVIDERS.rglob("*.py")) for one in _calls(path, package)]


def _calls(path: Path, package: str) -> Iterator[Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    returned = [one.value for one in ast.walk(tree) if isinstance(one, ast.Return) and isinstance(one.value, ast.Dict)]
    options = tuple(ast.literal_eval(key) for table in returned for key in table.keys if isinstance(key, ast.Constant))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        name = name.replace("driving().", "mx_driving.", 1) if name.startswith("driving().") else name
        if name.startswith(f"{package}."):
            starred = any(isinstance(one, ast.Starred) for one in node.args)
            positional = sum(not isinstance(one, ast.Starred) for one in node.args)
            keywords = tuple(name for one in node.keywords for name in ([one.arg] if one.arg else options))
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            yield Call(where, name.removeprefix(f"{package}."), positional, starred, keywords)


def unbound(call: Call, wanted: Function) -> str | None:
    """Why the arguments of ``call`` do not fit ``wanted``; None if they do."""
    names = [one.partition("=")[0] for one in wanted.parameters if not one.startswith("*")]
    needed = [one for one in wanted.parameters if "=" not in one and not one.startswith("*")]
    if wanted.kind == "apply" and call.keywords:
        return f"{call.where}: {call.name} is a function's apply and takes no keywords"
    strange = [one for one in call.keywords if one not in names]
    if strange:
        return f"{call.where}: {call.name} has no parameter {', '.join(strange)}"
    if call.positional + len(call.keywords) > len(names):
        return f"{call.where}: {call.name} takes {len(names)} arguments, {call.positional} are given"
    left_out = [one for one in needed[call.positional :] if one not in call.keywords]
    if left_out and not call.starred:
        return f"{call.where}: {call.name} needs {', '.join(left_out)}"
    return None


def standins(module: str, table: str = "FUNCTIONS") -> dict[str, list[str]]:
    """Parameters of every function in a stand-in's table, as :func:`vendor_python.parameters` gives them.

    ``FUNCTIONS`` are the public ones, ``PRIVATE`` (where there is one) those of ``_C``.
    """
    functions = getattr(importlib.import_module(f"portbev_emulated.standins.{module}"), table, {})
    return {name: _signature(function) for name, function in functions.items()}


def emulated() -> dict[str, list[str] | str]:
    """Parameters of every name of the emulated ``torch.npu``; "value" for what is not called."""
    from portbev_emulated.module import build

    found: dict[str, list[str] | str] = {}
    for name, value in vars(build()).items():
        if name.startswith("__"):
            continue
        if isinstance(value, SimpleNamespace):
            inner = {f"torch.npu.{name}.{key}": one for key, one in vars(value).items()}
        else:
            inner = {f"torch.npu.{name}": value}
        for key, one in inner.items():
            found[key] = _signature(one) if callable(one) else "value"
            if isinstance(one, type):
                methods = {name: own for name, own in vars(one).items() if not name.startswith("_")}
                found |= {f"{key}.{name}": _signature(own)[1:] for name, own in methods.items()}
    return found


def _signature(function: Callable[..., object]) -> list[str]:
    found, keywords = [], False
    for one in inspect.signature(function).parameters.values():
        if one.kind is one.KEYWORD_ONLY and not keywords:
            found.append("*")
            keywords = True
        stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        default = "" if one.default is one.empty else f"={default_text(one.default)}"
        found.append(f"{stars}{one.name}{default}")
    return found


def default_text(value: object) -> str:
    """A tuple is as good as a list of the same values."""
    return repr(list(value) if isinstance(value, tuple) else value)
