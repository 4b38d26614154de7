"""Values of Python expressions that are data: literals, names, arithmetic, ``dict(...)``. Nothing is executed.

The syntax tree is walked, and what it says is computed by the few rules of this module. A call of anything else becomes
a :class:`Called`, a name that means nothing here a :class:`Symbol`: text, which no rule can call.
"""

from __future__ import annotations

import ast
import copy
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from portbev.errors import ConfigError

MOST_STEPS = 200_000
"""Nodes that are evaluated for a file; the longest configuration of the originals has 2,000."""
MOST_ITEMS = 100_000
"""Elements of a computed sequence, characters of a computed text, bits of a computed integer."""


class Symbol(str):
    """A dotted name whose value is not known, such as ``torch.optim.AdamW``."""

    __slots__ = ()

    @property
    def last(self) -> str:
        """Its last part."""
        return self.rpartition(".")[2]


class Called(dict[str, Any]):
    """A call that is not made: ``type`` is the last part of its name, ``args`` what is not named, and the keywords."""


class UnreadableError(Exception):
    """An expression that is no data; the message is a clause."""

    def __init__(self, what: str, node: ast.AST) -> None:
        super().__init__(what)
        self.what, self.line = what, int(getattr(node, "lineno", 0))


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


def _joined(*parts: str) -> str:
    """As ``os.path.join`` does on the systems that these files are written for."""
    path = ""
    for part in parts:
        path = part if part.startswith("/") or not path else f"{path.rstrip('/')}/{part}"
    return path


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "list": list,
    "tuple": tuple,
    "set": lambda values=(): list(dict.fromkeys(values)),
    "len": len,
    "int": int,
    "float": float,
    "str": lambda value="": str(value),
    "bool": bool,
    "abs": abs,
    "min": min,
    "max": max,
    "sum": sum,
    "round": round,
    "sorted": sorted,
    "range": lambda *ends: list(range(*ends)) if len(range(*ends)) <= MOST_ITEMS else _too_much(),
    "copy.deepcopy": copy.deepcopy,
    "deepcopy": copy.deepcopy,
    "copy.copy": copy.copy,
    "os.path.join": _joined,
    "osp.join": _joined,
    "math.sqrt": math.sqrt,
    "math.radians": math.radians,
    "np.deg2rad": math.radians,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
}
_CONSTANTS = {"math.pi": math.pi, "np.pi": math.pi, "numpy.pi": math.pi, "math.inf": math.inf, "np.inf": math.inf}
_METHODS: dict[type, tuple[str, ...]] = {
    dict: ("get", "copy", "items", "keys", "values"),
    list: ("copy", "index", "count"),
    tuple: ("index", "count"),
    str: ("replace", "lower", "upper", "strip", "split", "startswith", "endswith", "rstrip", "lstrip"),
}


def _too_much() -> Any:
    raise ValueError("too much to compute")


class Evaluator:
    """Evaluates expressions with the names of one scope.

    Args:
        names: what names mean; read at each evaluation.
        used: names that were read are added to it.
        base: what ``{{_base_.KEY}}`` looks into.
    """

    def __init__(
        self, names: Mapping[str, Any], used: set[str] | None = None, base: Mapping[str, Any] | None = None
    ) -> None:
        self.names, self.used, self.base = names, used if used is not None else set(), base or {}
        self.steps = 0

    def value(self, node: ast.expr) -> Any:
        """The value of an expression.

        Raises:
            UnreadableError: it is no data, or an error (a name that is not there, a division by zero).
        """
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise UnreadableError("more than a configuration computes", node)
        rule = getattr(self, f"_{type(node).__name__.lower()}", None)
        if rule is None:
            raise UnreadableError(f"{_said(node)} is not read", node)
        try:
            return _small(rule(node))
        except UnreadableError:
            raise
        except RecursionError as error:
            raise UnreadableError("nested too deeply", node) from error
        except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, MemoryError) as error:
            raise UnreadableError(
                f"{_said(node)} cannot be computed ({type(error).__name__}: {error})", node
            ) from error

    def _constant(self, node: ast.Constant) -> Any:
        return node.value

    def _name(self, node: ast.Name) -> Any:
        if node.id in self.names:
            self.used.add(node.id)
            return self.names[node.id]
        return Symbol(node.id)

    def _attribute(self, node: ast.Attribute) -> Any:
        owner = self.value(node.value)
        if isinstance(owner, Symbol):
            name = f"{owner}.{node.attr}"
            return _CONSTANTS.get(name, Symbol(name))
        if isinstance(owner, Scope):
            return owner.attribute(node.attr)
        raise UnreadableError(f"the attribute {node.attr!r} of a value is not read", node)

    def _list(self, node: ast.List) -> list[Any]:
        return list(self._elements(node.elts))

    def _tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self._elements(node.elts))

    def _set(self, node: ast.Set) -> Any:
        inner = node.elts[0] if len(node.elts) == 1 else None
        if isinstance(inner, ast.Set) and len(inner.elts) == 1:
            return self._of_base(inner.elts[0])
        return list(dict.fromkeys(self._elements(node.elts)))

    def _of_base(self, node: ast.expr) -> Any:
        """``{{_base_.model.depth}}``: a value of the inherited files."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id != "_base_":
            raise UnreadableError("a set in a set", node)
        value: Any = self.base
        for part in reversed(parts):
            value = value[int(part) if isinstance(value, list) else part]
        return copy.deepcopy(value)

    def _dict(self, node: ast.Dict) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                made.update(self._mapping(value))
            else:
                made[self.value(key)] = self.value(value)
        return made

    def _mapping(self, node: ast.expr) -> Mapping[Any, Any]:
        value = self.value(node)
        if not isinstance(value, Mapping):
            raise UnreadableError(f"{_said(node)} is no mapping", node)
        return value

    def _elements(self, nodes: list[ast.expr]) -> Iterator[Any]:
        for node in nodes:
            if isinstance(node, ast.Starred):
                yield from self.value(node.value)
            else:
                yield self.value(node)

    def _binop(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if type(node.op) not in _BINARY:
            raise UnreadableError(f"{_said(node)} is not read", node)
        if isinstance(node.op, ast.Mod) and isinstance(left, str):
            raise UnreadableError("text with % is not read", node)
        if isinstance(node.op, ast.Mult):
            sizes = [len(one) if isinstance(one, (str, list, tuple)) else abs(one) for one in (left, right)]
            if any(isinstance(one, (str, list, tuple)) for one in (left, right)) and sizes[0] * sizes[1] > MOST_ITEMS:
                _too_much()
        if isinstance(node.op, ast.Pow) and (abs(right) > 64 or abs(left) > 1e9):
            _too_much()
        return _BINARY[type(node.op)](left, right)

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        return _UNARY[type(node.op)](self.value(node.operand))

    def _boolop(self, node: ast.BoolOp) -> Any:
        value: Any = None
        for part in node.values:
            value = self.value(part)
            if bool(value) != isinstance(node.op, ast.And):
                return value
        return value

    def _compare(self, node: ast.Compare) -> bool:
        left = self.value(node.left)
        for rule, part in zip(node.ops, node.comparators, strict=True):
            right = self.value(part)
            if not _COMPARED[type(rule)](left, right):
                return False
            left = right
        return True

    def _ifexp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _subscript(self, node: ast.Subscript) -> Any:
        owner = self.value(node.value)
        if isinstance(owner, Symbol):
            raise UnreadableError(f"what {owner} is, is not known", node)
        if isinstance(node.slice, ast.Slice):
            ends = [None if end is None else self.value(end) for end in _ends(node.slice)]
            return owner[slice(*ends)]
        return owner[self.value(node.slice)]

    def _joinedstr(self, node: ast.JoinedStr) -> str:
        parts = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                spec = self.value(part.format_spec) if part.format_spec is not None else ""
                if len(spec) > 8:
                    _too_much()
                parts.append(format(self.value(part.value), spec))
            else:
                parts.append(str(self.value(part)))
        return "".join(parts)

    def _listcomp(self, node: ast.ListComp) -> list[Any]:
        return [scope.value(node.elt) for scope in self._loops(node.generators)]

    def _generatorexp(self, node: ast.GeneratorExp) -> list[Any]:
        return [scope.value(node.elt) for scope in self._loops(node.generators)]

    def _dictcomp(self, node: ast.DictComp) -> dict[Any, Any]:
        return {scope.value(node.key): scope.value(node.value) for scope in self._loops(node.generators)}

    def _loops(self, generators: list[ast.comprehension]) -> Iterator[Evaluator]:
        first, rest = generators[0], generators[1:]
        for item in self.value(first.iter):
            inner = Evaluator({**self.names, **_bound(first.target, item)}, self.used, self.base)
            inner.steps = self.steps
            if all(inner.value(test) for test in first.ifs):
                yield from inner._loops(rest) if rest else [inner]
            self.steps = inner.steps

    def _call(self, node: ast.Call) -> Any:
        arguments = list(self._elements(node.args))
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                keywords.update(self._mapping(keyword.value))
            else:
                keywords[keyword.arg] = self.value(keyword.value)
        if isinstance(node.func, ast.Attribute):
            owner = self.value(node.func.value)
            if isinstance(owner, Called):
                return Called({"type": node.func.attr, **({"args": arguments} if arguments else {}), **keywords})
            if isinstance(owner, (dict, list, tuple, str)) and not isinstance(owner, Symbol):
                return self._method(node, owner, node.func.attr, arguments, keywords)
        name = self.value(node.func)
        if not isinstance(name, Symbol):
            name = Symbol(getattr(name, "name", "") or _said(node.func))
        if name == "dict":
            return {**(dict(arguments[0]) if arguments else {}), **keywords}
        if name in _FUNCTIONS and not any(isinstance(one, (Symbol, Called)) for one in arguments):
            return _FUNCTIONS[name](*arguments, **keywords)
        return Called({"type": name.last, **({"args": arguments} if arguments else {}), **keywords})

    def _method(self, node: ast.Call, owner: Any, name: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        kind = next(one for one in _METHODS if isinstance(owner, one))
        if name not in _METHODS[kind]:
            raise UnreadableError(f"the method {name!r} is not read", node)
        if name == "replace" and len(owner) * max(1, len(str(arguments[-1]))) > MOST_ITEMS:
            _too_much()
        made = getattr(owner, name)(*arguments, **keywords)
        return list(made) if name in ("items", "keys", "values") else made


class Scope:
    """A value whose attributes are known, such as ``self``."""

    def __init__(self, name: str, attributes: dict[str, Any]) -> None:
        self.name, self.attributes = name, attributes

    def attribute(self, name: str) -> Any:
        """Its value; a symbol where it is not known."""
        return self.attributes.get(name, Symbol(f"{self.name}.{name}"))


def _bound(target: ast.expr, item: Any) -> dict[str, Any]:
    if isinstance(target, ast.Name):
        return {target.id: item}
    if isinstance(target, ast.Tuple):
        bound: dict[str, Any] = {}
        for one, part in zip(target.elts, item, strict=True):
            bound.update(_bound(one, part))
        return bound
    raise UnreadableError(f"{_said(target)} is not read", target)


def _ends(node: ast.Slice) -> tuple[ast.expr | None, ast.expr | None, ast.expr | None]:
    return node.lower, node.upper, node.step


def _small(value: Any) -> Any:
    if isinstance(value, (str, list, tuple, dict)) and len(value) > MOST_ITEMS:
        _too_much()
    if isinstance(value, int) and value.bit_length() > MOST_ITEMS:
        _too_much()
    return value


def _said(node: ast.AST) -> str:
    """How the source text of a node begins."""
    try:
        text = " ".join(ast.unparse(node).split())
    except (RecursionError, ValueError):
        text = type(node).__name__
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


def parsed(text: str, where: str) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ConfigError: it is no Python that this version of Python parses.
    """
    try:
        return ast.parse(text)
    except SyntaxError as error:
        what = f"is no Python: {error.msg} (line {error.lineno})"
        raise ConfigError(what, where=where, cure="Give a configuration as its project has it") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"is no Python that can be read: {error}", where=where) from error
