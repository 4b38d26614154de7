"""The statements of a Python file that give names values, followed without executing the file."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portbev.convert.expressions import Called, Evaluator, Scope, Symbol, UnreadableError, parsed
from portbev.errors import ConfigError

LONGEST_FILE = 1 << 20  # bytes


@dataclass
class PythonFile:
    """What a file says.

    Attributes:
        names: values of its top level.
        classes, functions: definitions, not followed.
        imports: name -> (module, name in it), of ``from MODULE import NAME``.
        calls: calls on the top level whose results are not kept.
        used: names whose values other expressions took.
        skipped: what could not be followed, with the line.
    """

    path: Path
    names: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    calls: list[Called] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    skipped: list[str] = field(default_factory=list)


def read_text(path: Path) -> str:
    """The text of a Python file.

    Raises:
        ConfigError: missing, a folder, too long, or no UTF-8 text.
    """
    where = str(path)
    try:
        if path.stat().st_size > LONGEST_FILE:
            raise ConfigError(f"has {path.stat().st_size} bytes, too many for a configuration", where=where)
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        cure = "Give the .py file of a configuration"
        raise ConfigError(f"is not UTF-8 text (byte {error.start})", where=where, cure=cure) from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", where=where, cure="Check the path") from error


class Follower:
    """Follows assignments in one scope.

    Args:
        file: where definitions, calls and what is skipped are noted.
        names: the scope: names and their values; it is changed.
        base: what ``{{_base_.KEY}}`` looks into.
        strict: an assignment that cannot be followed is an error; otherwise it is noted, and the name is a symbol.
    """

    def __init__(
        self, file: PythonFile, names: dict[str, Any], base: dict[str, Any] | None = None, *, strict: bool = False
    ) -> None:
        self.file, self.names, self.strict = file, names, strict
        self.evaluator = Evaluator(names, file.used, base)

    def follow(self, body: list[ast.stmt]) -> Any:
        """Follow statements up to a ``return``, whose value is returned; None without one.

        Raises:
            ConfigError: with ``strict``, what is no data.
        """
        for statement in body:
            try:
                ended, value = self._statement(statement)
            except UnreadableError as error:
                self._skip(statement, error)
                continue
            if ended:
                return value
        return None

    def _skip(self, statement: ast.stmt, error: UnreadableError) -> None:
        text = f"line {error.line or statement.lineno}: {error.what}"
        if self.strict:
            cure = "Write the value out in a copy of the file: it is read, not executed"
            raise ConfigError(text, where=str(self.file.path), cure=cure) from error
        self.file.skipped.append(text)
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    self.names[target.id] = Symbol(target.id)

    def _statement(self, node: ast.stmt) -> tuple[bool, Any]:
        """Whether the scope ends here, and its value."""
        value = self.evaluator.value
        if isinstance(node, ast.Assign):
            made = value(node.value)
            for target in node.targets:
                self._assign(target, made)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._assign(node.target, value(node.value))
        elif isinstance(node, ast.AugAssign):
            load = ast.copy_location(ast.BinOp(_loaded(node.target), node.op, node.value), node)
            self._assign(node.target, value(load))
        elif isinstance(node, ast.Expr):
            self._expression(node.value)
        elif isinstance(node, ast.Return):
            return True, None if node.value is None else value(node.value)
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.ImportFrom)):
            self._definition(node)
        elif isinstance(node, ast.If):
            return self._branch(node)
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                self._delete(target)
        elif not isinstance(node, (ast.Import, ast.Pass, ast.Assert, ast.Global)):
            kind = {"With": "a with statement", "For": "a loop", "While": "a loop", "Try": "a try statement"}
            raise UnreadableError(f"{kind.get(type(node).__name__, type(node).__name__)} is not read", node)
        return False, None

    def _definition(self, node: ast.ClassDef | ast.FunctionDef | ast.ImportFrom) -> None:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name
                self.file.imports[name] = ("." * node.level + (node.module or ""), alias.name)
                self.names.pop(name, None)
            return
        if isinstance(node, ast.ClassDef):
            self.file.classes[node.name] = node
        else:
            self.file.functions[node.name] = node
        self.names[node.name] = Symbol(node.name)

    def _branch(self, node: ast.If) -> tuple[bool, Any]:
        test = ast.unparse(node.test).replace('"', "'")
        taken = True if test == "__name__ == '__main__'" else self.evaluator.value(node.test)
        if isinstance(taken, (Symbol, Called)):
            raise UnreadableError(f"`if {test}` depends on what is not known", node)
        for statement in node.body if taken else node.orelse:
            ended, value = self._statement(statement)
            if ended:
                return ended, value
        return False, None

    def _expression(self, node: ast.expr) -> None:
        """A docstring, ``SEQUENCE.append(...)`` and the like, or a call whose result is not kept."""
        if isinstance(node, ast.Constant):
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Call):
                return  # super().__init__(): who follows a class follows its bases first
            owner, arguments = self.evaluator.value(node.func.value), node.args
            if type(owner) in (dict, list) and node.func.attr in ("append", "extend", "update", "insert", "pop"):
                keywords = {one.arg: self.evaluator.value(one.value) for one in node.keywords if one.arg}
                getattr(owner, node.func.attr)(*map(self.evaluator.value, arguments), **keywords)
                return
        made = self.evaluator.value(node)
        if isinstance(made, Called):
            self.file.calls.append(made)

    def _assign(self, target: ast.expr, made: Any) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = made
        elif isinstance(target, (ast.Tuple, ast.List)):
            values = list(made) if isinstance(made, (list, tuple)) else []
            if len(values) != len(target.elts):
                raise UnreadableError("an assignment to several names", target)
            for one, value in zip(target.elts, values, strict=True):
                self._assign(one, value)
        elif isinstance(target, ast.Attribute):
            owner = self.evaluator.value(target.value)
            if not isinstance(owner, Scope):
                raise UnreadableError(f"an assignment to an attribute ({target.attr})", target)
            owner.attributes[target.attr] = made
        elif isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Slice):
            owner = self.evaluator.value(target.value)
            if not isinstance(owner, (dict, list)):
                raise UnreadableError("an assignment to a part of what is not known", target)
            owner[self.evaluator.value(target.slice)] = made
        else:
            raise UnreadableError("an assignment to a part of a sequence", target)

    def _delete(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.names.pop(target.id, None)
        elif isinstance(target, ast.Subscript):
            del self.evaluator.value(target.value)[self.evaluator.value(target.slice)]


def _loaded(target: ast.expr) -> ast.expr:
    """The target of an assignment as an expression."""
    loaded = ast.parse(ast.unparse(target), mode="eval").body
    return ast.copy_location(loaded, target)


def follow_file(
    path: Path,
    base: dict[str, Any] | None = None,
    *,
    strict: bool = False,
    change: Callable[[str], str] | None = None,
) -> PythonFile:
    """What a file says.

    Args:
        base: what ``{{_base_.KEY}}`` looks into.
        strict: what is no data is an error.
        change: what is done to the text before it is parsed.

    Raises:
        ConfigError: it cannot be read, is no Python, or, with ``strict``, has what is no data.
    """
    file = PythonFile(path)
    text = read_text(path) if change is None else change(read_text(path))
    follower = Follower(file, file.names, base, strict=strict)
    follower.follow(parsed(text, str(path)).body)
    return file
