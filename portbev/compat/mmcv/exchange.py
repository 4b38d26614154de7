"""What was imported from ``mmcv.ops`` before: exchanged wherever modules hold it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

from portbev.compat.mmcv import names
from portbev.compat.mmcv.changes import Changes


def exchange(changes: Changes, finder: MetaPathFinder) -> None:
    """Put ours in the place of mmcv's, in its modules and in those that have taken a name from them.

    mmcv's own modules leave ``sys.modules``. Their classes stay what they are, for layers and subclasses that exist,
    and compute with our functions.
    """
    old = {name: sys.modules[name] for name in names.OPERATORS if name in sys.modules}
    ours = {name: vars(importlib.import_module(names.OPERATORS[name][0])) for name in old}
    theirs = [(vars(module), name, each) for name, module in old.items() for each in names.OPERATORS[name][1]]
    held = [(space[each], ours[name][each]) for space, name, each in theirs if each in space]
    by_id = {id(their): our for their, our in held}  # held keeps them alive
    for module in old.values():
        _replace(changes, module, by_id, only=names.FUNCTIONS)
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and module not in old.values():
            _replace(changes, module, by_id)
    for name in old:
        changes.set_item(sys.modules, name, _made(name, finder))
        if "mmcv.ops" in sys.modules:
            changes.set_attribute(sys.modules["mmcv.ops"], name.rpartition(".")[2], sys.modules[name])


def _replace(changes: Changes, module: ModuleType, by_id: dict[int, Any], only: tuple[str, ...] = ()) -> None:
    """Exchange what ``module`` holds by any name, or by some names alone."""
    for name, value in list(vars(module).items()):
        if id(value) in by_id and (not only or name in only):
            changes.set_attribute(module, name, by_id[id(value)])


def _made(name: str, finder: MetaPathFinder) -> ModuleType:
    """Our module under ``name``."""
    spec = finder.find_spec(name, None)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
