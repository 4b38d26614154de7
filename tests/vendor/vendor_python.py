"""What a package's sources say of a function: its parameters, checks, casts, layouts and calls. Text in, text out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from vendor_wheels import Sources

_LAYOUTS = {"permute", "transpose", "reshape", "view", "flatten", "contiguous", "movedim"}
_CASTS = {"type_as", "float", "half", "int", "long", "to", "type"}


class MissingFunctionError(Exception):
    """The package does not have it."""


@dataclass
class Function:
    """A public function: a ``def``, or an autograd function's ``.apply``, which takes no keywords."""

    kind: str
    parameters: list[str]  # "name" or "name=default"; "**name" last
    checks: list[str] = field(default_factory=list)  # "condition -> exception"
    casts: list[str] = field(default_factory=list)
    layouts: list[str] = field(default_factory=list)  # statements that turn or cut a tensor
    returns: list[str] = field(default_factory=list)
    native: dict[str, list[str]] = field(default_factory=dict)  # function of ``_C`` -> its arguments

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def parse(sources: Sources, path: str) -> ast.Module:
    """The file's syntax.

    Raises:
        MissingFunctionError: there is no such file.
    """
    if path not in sources:
        raise MissingFunctionError(f"{path} is not in the wheel")
    return _parsed(sources[path])


@lru_cache(maxsize=256)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def function(sources: Sources, package: str, name: str) -> Function:
    """What ``package.name`` is.

    Raises:
        MissingFunctionError: the package's ``__init__`` has no such name, or it is no function.
    """
    tree = parse(sources, module_of(sources, package, name))
    defined: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            defined[statement.name] = statement
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            defined[statement.targets[0].id] = statement
    found = defined.get(name)
    if isinstance(found, ast.FunctionDef):
        result = Function("def", parameters(found.args))
        classes = [defined[used] for used in _applied(found) if used in defined]
        parts: list[ast.FunctionDef] = [found, *(method for one in classes for method in _methods(one))]
    elif isinstance(found, ast.Assign) and (used := _applied(found)) and used[0] in defined:
        parts = _methods(defined[used[0]])
        result = Function("apply", parameters(parts[0].args)[1:])  # without ctx
    else:
        raise MissingFunctionError(f"{package}.{name} is neither a def nor a function's apply")
    for part in parts:
        _read(part, result)
    return result


def module_of(sources: Sources, package: str, name: str) -> str:
    """The file that ``package/__init__`` takes ``name`` from.

    Raises:
        MissingFunctionError: it takes no such name.
    """
    for statement in parse(sources, f"{package}/__init__.py").body:
        if not isinstance(statement, ast.ImportFrom) or statement.level != 1:
            continue
        if any((alias.asname or alias.name) == name for alias in statement.names):
            return f"{package}/{(statement.module or '').replace('.', '/')}.py"
    raise MissingFunctionError(f"{package} has no {name}")


def parameters(arguments: ast.arguments) -> list[str]:
    """Names in order, with their defaults; annotations are no part of a call."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    found = [_parameter(one, default) for one, default in zip(plain, defaults, strict=True)]
    if arguments.vararg or arguments.kwonlyargs:
        found.append(f"*{arguments.vararg.arg if arguments.vararg else ''}")
    found += [_parameter(one, value) for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [*found, f"**{arguments.kwarg.arg}"] if arguments.kwarg else found


def _parameter(one: ast.arg, default: ast.expr | None) -> str:
    return one.arg if default is None else f"{one.arg}={ast.unparse(default)}"


def _applied(node: ast.AST) -> list[str]:
    """Classes whose ``apply`` is named in ``node``."""
    attributes = (one for one in ast.walk(node) if isinstance(one, ast.Attribute) and one.attr == "apply")
    return [one.value.id for one in attributes if isinstance(one.value, ast.Name)]


def _methods(node: ast.stmt) -> list[ast.FunctionDef]:
    """``forward`` and ``backward`` of an autograd function, in this order."""
    assert isinstance(node, ast.ClassDef), ast.unparse(node)
    named = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
    return [named[name] for name in ("forward", "backward") if name in named]


def _read(part: ast.FunctionDef, into: Function) -> None:
    """Add what ``part`` does."""
    into.casts += [text for one in part.decorator_list if (text := ast.unparse(one)) != "staticmethod"]
    for statement in _statements(part.body):
        if isinstance(statement, ast.If):
            into.checks += [
                f"{ast.unparse(statement.test)} -> {ast.unparse(one.exc.func)}"
                for one in statement.body
                if isinstance(one, ast.Raise) and isinstance(one.exc, ast.Call)
            ]
            continue
        text, called = ast.unparse(statement), set(_called(statement))
        if called & _LAYOUTS:
            into.layouts.append(text)
        elif called & _CASTS:
            into.casts.append(text)
        if isinstance(statement, ast.Assert):
            into.checks.append(f"not ({ast.unparse(statement.test)}) -> AssertionError")
        if isinstance(statement, ast.Return) and statement.value is not None:
            into.returns.append(ast.unparse(statement.value))
        for call in ast.walk(statement):
            if isinstance(call, ast.Call) and "._C." in (name := ast.unparse(call.func)):
                into.native[name.rpartition(".")[2]] = [ast.unparse(one) for one in call.args]


def _called(node: ast.AST) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            yield call.func.attr


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements, those inside of others too."""
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(statement, name, []))


def import_effects(sources: Sources, package: str) -> list[str]:
    """What ``import package`` does beyond defining names: foreign imports of its ``__init__``, calls, writes to others.

    Of every file that the import reaches. A call of a function of the same file brings that function's writes with it.
    """
    start = f"{package}/__init__.py"
    found = [ast.unparse(one) for one in parse(sources, start).body if _foreign(one)]
    for path in reached(sources, package):
        found += [f"{path}: {text}" for text in _effects(parse(sources, path))]
    return found


def _foreign(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Import) or (isinstance(statement, ast.ImportFrom) and statement.level == 0)


def reached(sources: Sources, package: str) -> list[str]:
    """The package's own files that ``import package`` runs."""
    seen: list[str] = []
    waiting = [f"{package}/__init__.py"]
    while waiting:
        path = waiting.pop()
        if path in seen or path not in sources:
            continue
        seen.append(path)
        folder = path.rpartition("/")[0]
        for statement in _statements(parse(sources, path).body):
            if isinstance(statement, ast.ImportFrom):
                base = _folder(folder, statement.level) if statement.level else ""
                module = "/".join(part for part in (base, (statement.module or "").replace(".", "/")) if part)
                waiting += [module, *(f"{module}/{alias.name}" for alias in statement.names)]
            elif isinstance(statement, ast.Import):
                waiting += [alias.name.replace(".", "/") for alias in statement.names]
        waiting = [one if one.endswith(".py") else _file(sources, one) for one in waiting]
    return sorted(seen)


def _folder(folder: str, level: int) -> str:
    return "/".join(folder.split("/")[: len(folder.split("/")) - level + 1])


def _file(sources: Sources, module: str) -> str:
    return f"{module}.py" if f"{module}.py" in sources else f"{module}/__init__.py"


def _effects(tree: ast.Module) -> Iterator[str]:
    local = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
    for statement in _at_import(tree.body):
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            yield ast.unparse(statement)
            name = ast.unparse(statement.value.func)
            if name in local:
                writes = (one for one in _statements(local[name].body) if _writes_elsewhere(one))
                yield from (f"{name}: {ast.unparse(one)}" for one in writes)
        elif _writes_elsewhere(statement) or (isinstance(statement, ast.Assign) and _asks_device(statement)):
            yield ast.unparse(statement)


def _at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import: not those inside of functions and classes."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            continue
        yield statement
        for name in ("body", "orelse", "finalbody"):
            yield from _at_import(getattr(statement, name, []))


def _writes_elsewhere(statement: ast.stmt) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(isinstance(one, ast.Attribute | ast.Subscript) for one in targets)


def _asks_device(statement: ast.Assign) -> bool:
    return any("npu." in ast.unparse(one.func) for one in ast.walk(statement.value) if isinstance(one, ast.Call))
