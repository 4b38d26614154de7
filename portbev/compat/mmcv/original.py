"""The mmcv that is installed, if one is: found without importing it, and whether its compiled operators load."""

from __future__ import annotations

import ast
import importlib.util
import sys
import warnings
from functools import cached_property
from importlib import metadata
from importlib.machinery import ModuleSpec
from typing import Any


class Original:
    """What lies behind the finder ``but``, which is not asked."""

    def __init__(self, but: object) -> None:
        self._but = but

    def spec(self, name: str, path: Any = None) -> ModuleSpec | None:
        """Where module ``name`` would come from without us; None if from nowhere. Folders without code do not count."""
        for finder in sys.meta_path:
            if finder is not self._but and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path)
                if spec is not None:
                    return spec if spec.loader is not None and spec.has_location else None
        return None

    @cached_property
    def package(self) -> ModuleSpec | None:
        """The package ``mmcv``, None where there is none."""
        here = sys.modules.get("mmcv")
        if here is not None:
            return here.__spec__ or ModuleSpec("mmcv", None, is_package=True)
        return self.spec("mmcv")

    @property
    def installed(self) -> bool:
        return self.package is not None

    @cached_property
    def folders(self) -> list[str]:
        """Where the modules of ``mmcv`` are looked for."""
        if self.package is None:
            return []
        here: Any = getattr(sys.modules.get("mmcv"), "__path__", None) or self.package.submodule_search_locations
        return list(here or [])

    @cached_property
    def extension_error(self) -> str | None:
        """Why ``mmcv._ext`` does not load; None where it does, and it is loaded then."""
        if "mmcv._ext" in sys.modules:
            return None if sys.modules["mmcv._ext"] is not None else "mmcv._ext is blocked"
        spec = self.spec("mmcv._ext", self.folders)
        if spec is None or spec.loader is None:
            return "it has no compiled operators"
        try:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        except Exception as error:  # libraries that are missing, symbols of another torch, or its own checks
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            text = f"mmcv._ext does not load: {said}"
            warnings.warn(f"portbev.compat.mmcv: {text}", RuntimeWarning, stacklevel=2)
            return text
        sys.modules["mmcv._ext"] = module
        return None

    @property
    def compiled(self) -> bool:
        """Whether there is a ``mmcv._ext``, which may load or not."""
        return "mmcv._ext" in sys.modules or self.spec("mmcv._ext", self.folders) is not None

    @cached_property
    def version(self) -> str:
        """For people: the distribution with its version."""
        for name in ("mmcv", "mmcv-lite", "mmcv-full"):
            try:
                return f"{name} {metadata.version(name)}"
            except metadata.PackageNotFoundError:
                continue
        return "mmcv of unknown version"

    @cached_property
    def operators(self) -> dict[str, str]:
        """Names of ``mmcv.ops`` and the module that each comes from, read in its source."""
        spec = self.spec("mmcv.ops", self.folders)
        found: dict[str, str] = {}
        for node in _statements(spec):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
                found.update({alias.asname or alias.name: f"mmcv.ops.{node.module}" for alias in node.names})
        return found


def taken_from_extension(spec: ModuleSpec) -> list[str]:
    """Names that the source of a module asks of ``mmcv._ext``."""
    found: list[str] = []
    for node in _statements(spec):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "load_ext":
            found += [str(n.value) for a in node.args[1:] for n in ast.walk(a) if isinstance(n, ast.Constant)]
    return found


def _statements(spec: ModuleSpec | None) -> list[ast.AST]:
    """Every node of a module's source; none where it has no readable source."""
    get_source = getattr(spec.loader, "get_source", None) if spec is not None else None
    if spec is None or get_source is None:
        return []
    try:
        return list(ast.walk(ast.parse(get_source(spec.name) or "")))
    except (ImportError, OSError, SyntaxError):
        return []
