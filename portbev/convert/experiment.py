"""Experiments that are classes: attributes set in ``__init__``, an optimizer made in ``configure_optimizers``."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portbev.convert.expressions import Called, Evaluator, Scope, Symbol, UnreadableError, parsed
from portbev.convert.python_file import Follower, PythonFile, follow_file, read_text
from portbev.convert.source import Source
from portbev.errors import ConfigError

MAKER = "configure_optimizers"
DEFAULTS = "set_defaults"
MOST_CLASSES = 32


def is_experiment(path: Path) -> bool:
    """Whether a file starts an experiment of its own, or derives one: it calls a launcher with a class."""
    tree = parsed(read_text(path), str(path))
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    classes |= {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    return _launch_call(tree, classes) is not None or any(
        isinstance(node, ast.FunctionDef) and node.name == MAKER
        for klass in tree.body
        if isinstance(klass, ast.ClassDef)
        for node in klass.body
    )


def _launch_call(tree: ast.Module, classes: set[str]) -> ast.Call | None:
    """The call behind ``if __name__ == '__main__'`` whose first argument is a class."""
    for node in tree.body:
        if not isinstance(node, ast.If) or "__main__" not in ast.unparse(node.test):
            continue
        for statement in node.body:
            call = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(call, ast.Call) and call.args:
                first = call.args[0]
                if isinstance(first, ast.Name) and first.id in classes:
                    return call
    return None


@dataclass
class _Reader:
    """Files by path, and what is told about them."""

    source: Source
    files: dict[Path, PythonFile] = field(default_factory=dict)

    def file(self, path: Path) -> PythonFile:
        path = path.resolve()
        if path not in self.files:
            self.files[path] = follow_file(path)
        return self.files[path]

    def imported(self, file: PythonFile, name: str) -> tuple[PythonFile, str] | None:
        """The file that a name was imported from, and its name there; None where the file is not to be found."""
        module, original = file.imports[name]
        path = _module_file(module, file.path)
        return None if path is None else (self.file(path), original)


def read_experiment(path: Path) -> Source:
    """The settings of an experiment: its class is followed through its base classes, statement by statement.

    The files of imported classes are looked for above ``path``. What cannot be found or followed is in the notes.

    Raises:
        ConfigError: see :func:`portbev.convert.source.read_source`; or no class in it.
    """
    source = Source(path, "experiment", {})
    reader = _Reader(source)
    file = reader.file(path)
    launch = _launch(file)
    name = launch.get("class") or next(reversed(file.classes), "")
    found = _definition(reader, file, str(name))
    if found is None:
        what = f"the class {name!r} is not defined in it, and the file that it is imported from is not there"
        cure = "Give the file inside a checkout of its project, so that what it imports can be read"
        raise ConfigError(what, where=str(path), cure=cure)
    attributes: dict[str, Any] = {}
    bases: list[str] = []
    _follow_class(reader, found, Scope("self", attributes), bases)
    values = copy.deepcopy(attributes)
    values["optimizers"] = _optimizers(reader, found, Scope("self", attributes))
    values["trainer"] = _trainer(reader, file, launch)
    values["launch"], values["bases"] = launch, bases
    values["defined"] = [name for read in reader.files.values() for name in read.classes]
    source.values = values
    for read in reader.files.values():
        source.notes += [f"{read.path.name}, {text}" for text in read.skipped if _matters(text)]
    source.notes = list(dict.fromkeys(source.notes))
    return source


def _matters(text: str) -> bool:
    return "no file of" not in text


def _launch(file: PythonFile) -> dict[str, Any]:
    """What the file starts: ``class``, ``launcher``, and the call's other arguments."""
    known = {**file.classes, **file.imports}
    for call in file.calls:
        arguments = call.get("args", [])
        if arguments and isinstance(arguments[0], Symbol) and str(arguments[0]) in known:
            rest = {key: value for key, value in call.items() if key not in ("type", "args")}
            name = arguments[1] if len(arguments) > 1 and isinstance(arguments[1], str) else ""
            return {"class": str(arguments[0]), "launcher": call["type"], "name": str(name), **rest}
    return {}


Definition = tuple[PythonFile, ast.ClassDef]


def _definition(reader: _Reader, file: PythonFile, name: str) -> Definition | None:
    """The definition of a class by its name in a file, through what is imported."""
    for _ in range(MOST_CLASSES):
        if name in file.classes:
            return file, file.classes[name]
        found = reader.imported(file, name) if name in file.imports else None
        if found is None:
            return None
        file, name = found
    return None


def _follow_class(reader: _Reader, definition: Definition, itself: Scope, bases: list[str]) -> None:
    """Set the attributes that ``__init__`` of a class and, before it, of its bases set."""
    file, klass = definition
    if len(bases) >= MOST_CLASSES:
        raise ConfigError("derives from too many classes", where=str(file.path))
    bases.append(klass.name)
    for base in klass.bases:
        if isinstance(base, ast.Name):
            above = _definition(reader, file, base.id)
            if above is not None and above[1] is not klass:
                _follow_class(reader, above, itself, bases)
            elif base.id in file.imports and _is_local(file, base.id):
                module = file.imports[base.id][0]
                reader.source.notes.append(f"{base.id} is of {module}, which is not there: what it sets is not taken")
    init = next((one for one in klass.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    if init is None:
        return
    names = {**file.names, **_defaults(file, init), init.args.args[0].arg if init.args.args else "self": itself}
    Follower(file, names).follow(init.body)


def _is_local(file: PythonFile, name: str) -> bool:
    """Whether an import is of the project of the file, and not of a library."""
    module = file.imports[name][0]
    return module.startswith(".") or module.split(".")[0] in file.path.resolve().parts


def _defaults(file: PythonFile, function: ast.FunctionDef) -> dict[str, Any]:
    """Parameters of a function and their default values; a symbol where there is none."""
    evaluator = Evaluator(file.names, file.used)
    plain = [*function.args.posonlyargs, *function.args.args]
    named = [*zip(plain[len(plain) - len(function.args.defaults) :], function.args.defaults, strict=True)]
    named += [
        (one, value) for one, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True) if value
    ]
    values: dict[str, Any] = {one.arg: Symbol(one.arg) for one in plain}
    for argument, default in named:
        try:
            values[argument.arg] = evaluator.value(default)
        except UnreadableError as error:
            file.skipped.append(f"line {error.line}: {error.what}")
    return values


def _optimizers(reader: _Reader, definition: Definition, itself: Scope) -> list[Called]:
    """The calls that the nearest ``configure_optimizers`` returns, in any nesting."""
    seen = 0
    found: Definition | None = definition
    while found is not None and seen < MOST_CLASSES:
        file, klass = found
        maker = next((one for one in klass.body if isinstance(one, ast.FunctionDef) and one.name == MAKER), None)
        if maker is not None:
            names = {**file.names, maker.args.args[0].arg if maker.args.args else "self": itself}
            return list(_calls(Follower(file, names).follow(maker.body)))
        above = [_definition(reader, file, base.id) for base in klass.bases if isinstance(base, ast.Name)]
        found, seen = next((one for one in above if one is not None), None), seen + 1
    return []


def _calls(value: Any) -> list[Called]:
    if isinstance(value, Called):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [call for item in value for call in _calls(item)] if isinstance(value, (list, tuple)) else []


def _trainer(reader: _Reader, file: PythonFile, launch: dict[str, Any]) -> dict[str, Any]:
    """What the launcher's function sets as the defaults of its command line."""
    name = str(launch.get("launcher", ""))
    where: PythonFile | None = file
    if name and name not in file.functions:
        found = reader.imported(file, name) if name in file.imports else None
        where, name = found if found is not None else (None, name)
    if not name or where is None or name not in where.functions:
        if name:
            what = f"{name} is not to be found: epochs, clipping, precision and the like, which it sets, are not taken"
            reader.source.notes.append(what)
        return {}
    function = where.functions[name]
    names = {**where.names, **_defaults(where, function), **{key: launch[key] for key in launch}}
    settings: dict[str, Any] = {}
    evaluator = Evaluator(names, where.used)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == DEFAULTS:
            for keyword in node.keywords:
                try:
                    if keyword.arg is not None:
                        settings[keyword.arg] = evaluator.value(keyword.value)
                except UnreadableError as error:
                    where.skipped.append(f"line {error.line}: {error.what}")
    return settings


def _module_file(module: str, importer: Path) -> Path | None:
    """The file of a module, relative to the importing file or in a folder above it."""
    dots = len(module) - len(module.lstrip("."))
    parts = [part for part in module.lstrip(".").split(".") if part]
    if dots:
        folder = importer.resolve().parent
        for _ in range(dots - 1):
            folder = folder.parent
        folders = [folder]
    else:
        folders = list(importer.resolve().parents)
    for folder in folders:
        path = folder.joinpath(*parts)
        for candidate in (path.with_suffix(".py") if parts else path / "__init__.py", path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None
