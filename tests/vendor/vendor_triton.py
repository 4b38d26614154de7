"""What is relied on in Triton's wheels, upstream and Ascend's: the names that kernels may use, and declared limits."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from vendor_exports import MODULE, VALUE, Parameters, resolve
from vendor_ours import ROOT
from vendor_python import MissingFunctionError, parse
from vendor_uses import Use, uses
from vendor_wheels import Facts, Sources, sources

BACKEND = ROOT / "backends" / "portbev_triton"
_MODULES = (
    "triton",
    "triton.language",
    "triton.language.math",
    "triton.runtime",
    "triton.compiler",
    "triton.backends",
    "triton.backends.compiler",
)
_LIMITS = {
    "programs in a grid": ("triton/runtime/jit.py", r"if grid_all_size > (\d+):"),
    "elements of a tensor": ("triton/language/_utils.py", r"TRITON_MAX_TENSOR_NUMEL = (\d+)"),
}


def triton_uses(folder: Path = BACKEND) -> list[Use]:
    """Every use of Triton in ``folder``, by whatever name it is imported."""
    return uses(folder.rglob("*.py"), "triton")


def triton_sources(path: Path) -> Sources:
    """Of Triton: the Python files of its package, its language and its runtime."""
    wanted = re.compile(r"triton/(\w+|(language|runtime|compiler|backends)/\w+)\.py")
    return sources(path, lambda name: wanted.fullmatch(name) is not None)


def triton_facts(found: Sources) -> Facts:
    """Parameters of every public name of ``triton`` and its language, and the limits that stand in the sources."""
    inside = {match[1] for path in found if (match := re.fullmatch(r"triton/([a-z]\w*)(?:/__init__)?\.py", path))}
    return {
        "names": {
            "triton.__version__": resolve(found, "triton.__version__"),
            # Of further modules it is recorded that they are there, not what they have.
            **{f"triton.{name}": VALUE for name in sorted(inside)},
            **{name: parameters for module in _MODULES for name, parameters in _public(found, module)},
            **dict.fromkeys(_MODULES, MODULE),
        },
        "limits": {
            name: int(match[1])
            for name, (file, pattern) in _LIMITS.items()
            if (match := re.search(pattern, found.get(file, "")))
        },
    }


def _public(found: Sources, module: str) -> Iterator[tuple[str, Parameters]]:
    path = module.replace(".", "/")
    path = f"{path}/__init__.py" if f"{path}/__init__.py" in found else f"{path}.py"
    for name in sorted(_exported(parse(found, path))):
        try:
            yield f"{module}.{name}", resolve(found, f"{module}.{name}")
        except MissingFunctionError:  # imported from a compiled module
            continue


def _exported(tree: ast.Module) -> set[str]:
    """Names of ``__all__``, or all public ones that the file defines or imports."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return set(ast.literal_eval(statement.value))
    defined = {one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef)}
    taken = {alias.asname or alias.name for one in tree.body if isinstance(one, ast.ImportFrom) for alias in one.names}
    targets = [one.target for one in tree.body if isinstance(one, ast.AnnAssign)]
    targets += [one.targets[0] for one in tree.body if isinstance(one, ast.Assign)]
    assigned = {one.id for one in targets if isinstance(one, ast.Name)}
    return {name for name in defined | taken | assigned if not name.startswith("_") and name != "*"}
