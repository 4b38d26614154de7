"""Every use that our own sources make of a package: dotted names and calls, through aliases, read with ast."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vendor_exports import MODULE, Parameters
from vendor_ours import ROOT, Call, unbound
from vendor_python import Function

Aliases = dict[str, frozenset[str]]  # text of an expression -> the dotted names that it may stand for


@dataclass(frozen=True)
class Use:
    """``name`` is read at ``where``, or called."""

    where: str
    name: str
    call: Call | None = None


def uses(paths: Iterable[Path], package: str, known: Mapping[str, str] | None = None) -> list[Use]:
    """Every use of ``package`` (``cupy``, ``triton``, ``torch.npu``) in ``paths``.

    Args:
        known: text of an expression -> the dotted name that it stands for, beyond imports and assignments.
    """
    start = {text: frozenset({name}) for text, name in (known or {}).items()}
    found = (one for path in sorted(paths) for one in _file_uses(path, start))
    return [one for one in found if f"{one.name}.".startswith(f"{package}.") and one.name != package]


def _file_uses(path: Path, known: Aliases) -> Iterator[Use]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    where = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name)
    shared = dict(known)
    for statement in tree.body:
        _learn(statement, shared)
    for statement in tree.body:
        own = dict(shared)
        for node in ast.walk(statement):
            if isinstance(node, ast.stmt):
                _learn(node, own)
        yield from _walk(statement, own, where)


def _learn(statement: ast.stmt, aliases: Aliases) -> None:
    """What an import or an assignment calls a dotted name."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            full = alias.name if alias.asname else alias.name.split(".")[0]
            aliases[alias.asname or full] = frozenset({full})
    elif isinstance(statement, ast.ImportFrom) and not statement.level:
        for alias in statement.names:
            aliases[alias.asname or alias.name] = frozenset({f"{statement.module}.{alias.name}"})
    elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        names = _dotted(statement.value, aliases)
        if names:
            aliases[statement.targets[0].id] = names


def _dotted(node: ast.expr, aliases: Aliases) -> frozenset[str]:
    """The dotted names that ``node`` may stand for; none for anything else."""
    known = aliases.get(ast.unparse(node))
    if known:
        return known
    if isinstance(node, ast.Attribute):
        return frozenset(f"{one}.{node.attr}" for one in _dotted(node.value, aliases))
    if isinstance(node, ast.IfExp):
        return _dotted(node.body, aliases) | _dotted(node.orelse, aliases)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
        name = node.args[1]
        if isinstance(name, ast.Constant):
            return frozenset(f"{one}.{name.value}" for one in _dotted(node.args[0], aliases))
    return frozenset()


def _walk(node: ast.AST, aliases: Aliases, where: str) -> Iterator[Use]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Call):
        names = _dotted(node.func, aliases)
        for name in sorted(names):
            yield Use(f"{where}:{node.lineno}", name, _call(node, name, f"{where}:{node.lineno}"))
        children: list[ast.AST] = [*([] if names else [node.func]), *node.args, *node.keywords]
        if not names and _dotted(node, aliases):  # getattr
            yield from (Use(f"{where}:{node.lineno}", name) for name in sorted(_dotted(node, aliases)))
            children = []
    elif isinstance(node, ast.Attribute | ast.Name) and (names := _dotted(node, aliases)):
        yield from (Use(f"{where}:{node.lineno}", name) for name in sorted(names))
        return
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from _walk(child, aliases, where)


def _call(node: ast.Call, name: str, where: str) -> Call:
    starred = any(isinstance(one, ast.Starred) for one in node.args)
    positional = sum(not isinstance(one, ast.Starred) for one in node.args)
    return Call(where, name, positional, starred, tuple(one.arg for one in node.keywords if one.arg))


def misused(found: Iterable[Use], names: Mapping[str, Parameters]) -> list[str]:
    """Uses of what is not among ``names``, and calls that its parameters refuse, a line each.

    What a value among ``names`` has in turn is not asked, what a module has is.
    """
    modules = {name for name, what in names.items() if what == MODULE}
    lines: list[str] = []
    for use in found:
        if use.name not in names:
            if not any(f"{use.name}.".startswith(f"{owner}.") for owner in set(names) - modules):
                lines.append(f"{use.where}: there is no {use.name}")
        elif use.call and isinstance(wanted := names[use.name], list) and (said := _unbound(use.call, wanted)):
            lines.append(said)
    return lines


def _unbound(call: Call, wanted: list[str]) -> str | None:
    """As :func:`vendor_ours.unbound`; what stands after a ``*`` by keyword alone, and any number into a ``*args``."""
    if any(one.startswith("*") and one.strip("*") for one in wanted):
        return None
    if "*" in wanted:
        given = wanted.index("*")
        if call.positional > given:
            return f"{call.where}: {call.name} takes {given} arguments without a keyword, {call.positional} are given"
    return unbound(call, Function("def", wanted))
