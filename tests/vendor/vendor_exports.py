"""What a dotted name of a package is, found by following the imports of its sources: ``cupy.cuda.Device``.

Compiled modules are among the sources as the signatures that Cython writes into their documentation, a line each.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from vendor_python import MissingFunctionError, parameters, parse
from vendor_wheels import Sources

Parameters = list[str] | str  # those, or MODULE, or VALUE: nothing that is called
MODULE, VALUE = "module", "value"


def resolve(sources: Sources, dotted: str) -> Parameters:
    """Parameters of what ``dotted`` names, as :func:`vendor_python.parameters` gives them; ``MODULE`` for a module
    and ``VALUE`` for a plain value.

    Raises:
        MissingFunctionError: the package has no such name.
    """
    package, *names = dotted.split(".")
    found = _member(sources, package, names, frozenset())
    if found is _NOTHING:
        raise MissingFunctionError(f"{package} has no {'.'.join(names)}")
    return found  # type: ignore[return-value]


class _Nothing:
    """There is no such name here."""


_NOTHING = _Nothing()


def _member(sources: Sources, module: str, names: list[str], seen: frozenset[str]) -> Parameters | _Nothing:
    name, rest = names[0], names[1:]
    if f"{module}:{name}" in seen:
        return _NOTHING
    seen |= {f"{module}:{name}"}
    path = _path(sources, module)
    if path and path.endswith(".so"):
        return _embedded(sources[path], name) if not rest else _NOTHING
    for statement in reversed(list(_bindings(parse(sources, path).body, name)) if path else []):
        found = _bound(sources, module, statement, [name, *rest], seen)
        if found is not _NOTHING:
            return found
    if rest and _path(sources, f"{module}.{name}"):
        return _member(sources, f"{module}.{name}", rest, seen)
    return MODULE if not rest and _path(sources, f"{module}.{name}") else _NOTHING


def _path(sources: Sources, module: str) -> str | None:
    base = module.replace(".", "/")
    return next((one for one in (f"{base}/__init__.py", f"{base}.py", f"{base}.so") if one in sources), None)


def _bindings(body: list[ast.stmt], name: str) -> Iterator[ast.stmt]:
    """Statements at import that give ``name`` a meaning; star imports may."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            if statement.name == name:
                yield statement
            continue
        if isinstance(statement, ast.ImportFrom | ast.Import):
            if any(name in (alias.asname or alias.name, "*") or alias.name == "*" for alias in statement.names):
                yield statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if any(isinstance(one, ast.Name) and one.id == name for one in targets):
                yield statement
        for part in ("body", "orelse", "finalbody"):
            yield from _bindings(getattr(statement, part, []), name)


def _bound(
    sources: Sources, module: str, statement: ast.stmt, names: list[str], seen: frozenset[str]
) -> Parameters | _Nothing:
    name, rest = names[0], names[1:]
    if isinstance(statement, ast.FunctionDef):
        return _shown(statement, method=False) if not rest else _NOTHING
    if isinstance(statement, ast.ClassDef):
        return _of_class(statement, rest)
    if isinstance(statement, ast.ImportFrom):
        base = _base(sources, module, statement)
        for alias in statement.names:
            if alias.name == "*":
                if name in _public(sources, base):
                    return _member(sources, base, names, seen)
            elif (alias.asname or alias.name) == name:
                return _member(sources, base, [alias.name, *rest], seen)
        return _NOTHING
    value = getattr(statement, "value", None)
    made = value.func if isinstance(value, ast.Call) else value
    if rest or isinstance(value, ast.Name | ast.Attribute):  # an object: what its class has; an alias: what it names
        return _member(sources, module, [*_chain(made), *rest], seen) if _chain(made) else _NOTHING
    return VALUE


def _chain(node: ast.expr | None) -> list[str]:
    """``a.b.c`` as names; [] for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    return [*_chain(node.value), node.attr] if isinstance(node, ast.Attribute) and _chain(node.value) else []


def _base(sources: Sources, module: str, statement: ast.ImportFrom) -> str:
    """The module that an import takes names from."""
    if not statement.level:
        return statement.module or ""
    parts = module.split(".")
    if not (_path(sources, module) or "").endswith("/__init__.py"):
        parts = parts[:-1]
    parts = parts[: len(parts) - statement.level + 1]
    return ".".join([*parts, *([statement.module] if statement.module else [])])


def _public(sources: Sources, module: str) -> set[str]:
    """Names that ``from module import *`` brings."""
    path = _path(sources, module)
    if path is None or path.endswith(".so"):
        return set()
    body = parse(sources, path).body
    for statement in body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return set(ast.literal_eval(statement.value))
    return {one.name for one in body if isinstance(one, ast.FunctionDef | ast.ClassDef) and one.name[0] != "_"}


def _of_class(found: ast.ClassDef, rest: list[str]) -> Parameters | _Nothing:
    """Parameters of making one, or what an attribute of one is; ``__getattr__`` knows names by their text."""
    methods = {one.name: one for one in found.body if isinstance(one, ast.FunctionDef)}
    if not rest:
        made = methods.get("__init__") or methods.get("__new__")
        return _shown(made, method=True) if made else _fields(found)
    if rest[0] in methods:
        return _shown(methods[rest[0]], method=True)
    texts = {one.value for one in ast.walk(found) if isinstance(one, ast.Constant)}
    return VALUE if "__getattr__" in methods and rest[0] in texts else _NOTHING


def _fields(found: ast.ClassDef) -> list[str]:
    """What making a dataclass or a named tuple takes; nothing for another class."""
    marks = [ast.unparse(one) for one in (*found.decorator_list, *found.bases)]
    if not any("dataclass" in one or "NamedTuple" in one for one in marks):
        return []
    fields = [one for one in found.body if isinstance(one, ast.AnnAssign)]
    return [ast.unparse(one.target) + (f"={ast.unparse(one.value)}" if one.value else "") for one in fields]


def _shown(function: ast.FunctionDef, *, method: bool) -> list[str]:
    """Parameters but for those that a decorator gives: Triton's ``_builder``, ``_semantic`` ..."""
    given = parameters(function.args)[1 if method else 0 :]
    return [one for one in given if not re.match(r"_[a-z]", one)]


def _embedded(signatures: str, name: str) -> Parameters | _Nothing:
    """Of a compiled module: ``name(...)`` of its own documentation, or ``name.__init__(self, ...)``."""
    found = re.search(rf"^{name}(?:\.__init__)?\(([^)]*)\)", signatures, re.M)
    if found is None:
        return VALUE if re.search(rf"^{name}$", signatures, re.M) else _NOTHING
    tree = ast.parse(f"def it({_without_types(found[1])}): ...").body[0]
    assert isinstance(tree, ast.FunctionDef)
    return [one for one in parameters(tree.args) if one != "self"]


def _without_types(given: str) -> str:
    """``int device_id=-1`` is ``device_id=-1``."""
    return ", ".join(one.split(" ")[-1] for one in given.split(", "))


def signatures(library: bytes) -> str:
    """The signatures in a compiled module's documentation, a line each, sorted."""
    found = re.findall(rb"(?<=[\0\n])((?:\w+\.__init__|[A-Za-z]\w*)\([\w =.,*'-]*\))(?: -> \w+)?(?=[\0\n])", library)
    return "\n".join(sorted({one.decode() for one in found}))
