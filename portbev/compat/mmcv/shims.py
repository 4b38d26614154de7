"""Modules of mmcv's names that are made here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import MappingProxyType, ModuleType
from typing import Any

from portbev.compat.mmcv import names
from portbev.compat.mmcv.original import Original
from portbev.compat.mmcv.uncovered import UncoveredError, line, stand_in

Fill = Callable[[ModuleType], None]


class Shim(Loader):
    """Makes a module and lets ``fill`` put names into it."""

    def __init__(self, fill: Fill) -> None:
        self._fill = fill

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        self._fill(module)


def spec_of(name: str, fill: Fill, path: list[str] | None = None) -> ModuleSpec:
    """Spec of a module that is made by ``fill``; ``path`` is where the modules of a package are looked for."""
    spec = spec_from_loader(name, Shim(fill), origin="portbev.compat.mmcv", is_package=name in names.PACKAGES)
    assert spec is not None
    if path and spec.submodule_search_locations is not None:
        spec.submodule_search_locations[:] = path
    return spec


def copy_of(target: str, wanted: tuple[str, ...], uncovered: str) -> Fill:
    """Fills a module with ``wanted`` names of module ``target``; others are refused by name."""

    def fill(module: ModuleType) -> None:
        source = importlib.import_module(target)
        module.__doc__ = source.__doc__
        vars(module).update({name: getattr(source, name) for name in wanted})
        vars(module)["__all__"] = list(wanted)
        refuse_others(module, uncovered)

    return fill


def root(version: str, uncovered: str) -> Fill:
    """Fills ``mmcv`` and ``mmcv.version`` where no mmcv is installed."""

    def fill(module: ModuleType) -> None:
        module.__doc__ = "Stands in for mmcv: its deformable operators by portbev."
        found = {"__version__": version, "version_info": tuple(int(part) for part in version.split(".")[:3])}
        vars(module).update(found)
        vars(module)["__all__"] = list(found)
        refuse_others(module, uncovered)

    return fill


def extension(uncovered: str) -> Fill:
    """Fills ``mmcv._ext``."""
    return copy_of(f"{names.ROOM}.ext", names.EXTENSION, uncovered)


def operators(original: Original, uncovered: str) -> Fill:
    """Fills ``mmcv.ops``: portbev's names, and those of an installed mmcv that are written in Python alone."""

    def fill(module: ModuleType) -> None:
        module.__doc__ = "mmcv's deformable operators by portbev."
        reasons: dict[str, str] = {}
        # Before the names, as mmcv does: importing module point_sample puts it where function point_sample belongs.
        for name, home in {**original.operators, **_HOMES}.items():
            try:
                found = getattr(importlib.import_module(home), name)
            except UncoveredError:
                continue
            except Exception as error:  # of the installed mmcv, and told when the name is asked for
                reasons[name] = f"{home} of the installed mmcv does not load: {type(error).__name__}: {error}"
            else:
                vars(module)[name] = found
        vars(module)["__all__"] = list(names.EXPORTED)
        refuse_others(module, uncovered, reasons)

    return fill


_HOMES = {name: module for module, (_, wanted) in names.OPERATORS.items() for name in wanted}


def refuse_others(module: ModuleType, uncovered: str, reasons: Mapping[str, str] = MappingProxyType({})) -> None:
    """Give ``module`` an answer for names that it has not; ``reasons`` are those that have another than not covered.

    An ``AttributeError``, as ``hasattr`` needs; ``from ... import`` asks the finder next, which says it again.
    """

    def get(name: str) -> Any:
        full = f"{module.__name__}.{name}"
        if name.startswith("__"):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        if name in reasons:
            raise ImportError(reasons[name])
        if uncovered == "call":
            return stand_in(full)
        raise AttributeError(line(full))

    vars(module)["__getattr__"] = get
