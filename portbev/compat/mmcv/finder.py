"""The import hook: which module answers for a name of mmcv's."""

from __future__ import annotations

from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from portbev.compat.mmcv import names, shims
from portbev.compat.mmcv.original import Original, taken_from_extension
from portbev.compat.mmcv.uncovered import UncoveredError, line


class Finder(MetaPathFinder):
    """Stands before Python's own finders.

    Args:
        uncovered: ``import`` refuses operators that are not covered where they are imported, ``call`` where they are
            called.
        standalone: as if no mmcv were installed.
        version: of the mmcv that is stood in for where none is installed.
        loaded: called after a module of the installed mmcv that has a registry was loaded.
    """

    def __init__(self, uncovered: str, standalone: bool, version: str, loaded: Callable[[], None]) -> None:
        self.uncovered, self.standalone, self.version = uncovered, standalone, version
        self.original = Original(self)
        self.installed = not standalone and self.original.installed
        self._loaded = loaded

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec of a module that we answer for; None leaves it to the others.

        Raises:
            UncoveredError: nobody has it, and the line says what is covered.
        """
        if fullname.partition(".")[0] != "mmcv":
            return None
        if fullname in names.OPERATORS:
            fill = shims.copy_of(*names.OPERATORS[fullname], uncovered="import")
            return shims.spec_of(fullname, self._and_register(fill) if self.installed else fill)
        return self._beside_installed(fullname, path) if self.installed else self._alone(fullname)

    def _alone(self, name: str) -> ModuleSpec:
        """No mmcv is installed."""
        if name in ("mmcv", "mmcv.version"):
            return shims.spec_of(name, shims.root(self.version, self.uncovered))
        if name == "mmcv._ext":
            return shims.spec_of(name, shims.extension(self.uncovered))
        if name == "mmcv.ops":
            return shims.spec_of(name, shims.operators(_NOTHING, self.uncovered))
        if name in names.STANDALONE:
            return shims.spec_of(name, shims.copy_of(*names.STANDALONE[name], uncovered=self.uncovered))
        if self.uncovered == "call" and name.startswith("mmcv.ops."):
            return shims.spec_of(name, lambda module: shims.refuse_others(module, "call"))
        _refuse(name)

    def _beside_installed(self, name: str, path: Any) -> ModuleSpec | None:
        """Modules of an installed mmcv, but for its operators, are its own."""
        if name in ("mmcv.cnn", "mmcv.cnn.bricks.registry"):
            return self._and_tell(self.original.spec(name, path))
        if not name.startswith(("mmcv.ops", "mmcv._ext")) or self.original.extension_error is None:
            return None
        if name == "mmcv._ext":
            return shims.spec_of(name, shims.extension(self.uncovered))
        spec = self.original.spec(name, path)
        if name == "mmcv.ops":
            if self.uncovered == "call" and spec is not None:
                return None  # its own, with modules of ours in it
            folders = list(spec.submodule_search_locations or []) if spec is not None else []
            return shims.spec_of(name, shims.operators(self.original, self.uncovered), folders)
        if self.uncovered == "import" and (spec is None or not set(taken_from_extension(spec)) <= set(names.EXTENSION)):
            _refuse(name)
        return spec

    def _and_register(self, fill: shims.Fill) -> shims.Fill:
        def both(module: ModuleType) -> None:
            fill(module)
            self._loaded()

        return both

    def _and_tell(self, spec: ModuleSpec | None) -> ModuleSpec | None:
        """The same spec, whose loader calls back after the module was run."""
        run = getattr(spec.loader, "exec_module", None) if spec is not None else None
        if spec is None or run is None:
            return spec

        def run_and_tell(module: ModuleType) -> None:
            run(module)
            self._loaded()

        vars(spec.loader)["exec_module"] = run_and_tell
        return spec


class _Nothing(Original):
    """No mmcv."""

    operators: dict[str, str] = {}  # noqa: RUF012


_NOTHING = _Nothing(None)


def _refuse(name: str) -> NoReturn:
    raise UncoveredError(line(name))
