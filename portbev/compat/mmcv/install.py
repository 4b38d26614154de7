"""Putting portbev's operators under mmcv's names in this process, and taking them away again."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, get_args

from portbev.compat.mmcv import names
from portbev.compat.mmcv.changes import Changes
from portbev.compat.mmcv.exchange import exchange
from portbev.compat.mmcv.finder import Finder
from portbev.compat.mmcv.registry import register
from portbev.errors import PortbevError

Uncovered = Literal["import", "call"]
VERSION = "2.1.0"


@dataclass(frozen=True)
class Installed:
    """What :func:`install` found and did; ``str`` is a line for people.

    Attributes:
        mmcv: the distribution and its version, empty where none is installed or it is left aside.
        extension: why its compiled operators do not load; empty where they do, or where that is not known before mmcv
            is imported: a ``RuntimeWarning`` says it then.
        uncovered: where operators that are not covered are refused.
    """

    mmcv: str
    extension: str
    uncovered: Uncovered

    def __str__(self) -> str:
        ours = "deformable convolution and attention are portbev's"
        if not self.mmcv:
            return (
                f"{ours}; no mmcv is used, {'and others are refused' if self.uncovered == 'import' else self._late()}"
            )
        if self.extension:
            refused = "others that are compiled are refused" if self.uncovered == "import" else self._late()
            return f"{ours}; {self.mmcv} has the rest, but {self.extension}: {refused}"
        return f"{ours}; {self.mmcv} has the rest"

    def _late(self) -> str:
        return "others are refused where they are called"


class _State:
    finder: Finder | None = None
    changes = Changes()
    installed: Installed | None = None


def install(*, uncovered: Uncovered = "import", standalone: bool = False, version: str = VERSION) -> Installed:
    """Serve ``mmcv.ops``' deformable operators by portbev from now on.

    It goes before or after mmcv was imported: names that modules have taken from it by then are exchanged, and layers
    that were built compute with portbev's operators. Again, it changes nothing; with other arguments it installs anew.

    Args:
        uncovered: operators that are not covered are refused where they are imported, or with ``call`` where they are
            called: for code that imports what it does not use.
        standalone: leave an installed mmcv aside, for one that cannot be imported.
        version: what ``mmcv.__version__`` says where no mmcv is used.

    Raises:
        PortbevError: no such ``uncovered`` or ``version``; ``standalone`` after mmcv was imported.
    """
    if uncovered not in get_args(Uncovered):
        raise PortbevError(f"{uncovered!r} is neither import nor call", where="uncovered")
    if len(version.split(".")) < 3 or not all(part.isdigit() for part in version.split(".")[:3]):
        raise PortbevError(f"{version!r} is no version like {VERSION}", where="version")
    here = _State.finder
    if here is not None and _State.installed is not None:
        if (here.uncovered, here.standalone, here.version) == (uncovered, standalone, version):
            return _State.installed
        uninstall()
    if standalone and "mmcv" in sys.modules:
        cure = "Install before mmcv is imported"
        raise PortbevError("mmcv is imported already and cannot be left aside", where="standalone", cure=cure)
    finder = Finder(uncovered, standalone, version, lambda: register(_State.changes))
    _State.finder, _State.changes = finder, Changes()
    sys.meta_path.insert(0, finder)
    if finder.installed:
        exchange(_State.changes, finder)
        register(_State.changes)
    mmcv = finder.original.version if finder.installed else ""
    # A library is loaded no sooner than it is asked for.
    known = finder.installed and ("mmcv" in sys.modules or not finder.original.compiled)
    error = finder.original.extension_error if known else None
    _State.installed = Installed(mmcv, error or "", uncovered)
    return _State.installed


def uninstall() -> None:
    """Take portbev's operators away: mmcv is what it was. Layers that were built with them keep them."""
    finder, _State.finder, _State.installed = _State.finder, None, None
    if finder is None:
        return
    sys.meta_path.remove(finder)
    _State.changes.undo()
    ours = [name for name, module in sys.modules.items() if name.partition(".")[0] == "mmcv" and _is_ours(module)]
    for name in ours:
        module = sys.modules.pop(name)
        parent, _, short = name.rpartition(".")
        if vars(sys.modules.get(parent, ModuleType(""))).get(short) is module:
            delattr(sys.modules[parent], short)
    if {"mmcv.ops", "mmcv._ext"} & set(
        ours
    ):  # its operators were imported with the help of ours, and cannot be without
        for name in [name for name in sys.modules if f"{name}.".startswith("mmcv.ops.")]:
            del sys.modules[name]
        vars(sys.modules.get("mmcv", ModuleType(""))).pop("ops", None)
    elif "mmcv.ops" in sys.modules:
        _give_back(sys.modules["mmcv.ops"])


def _give_back(package: ModuleType) -> None:
    """Fill an installed ``mmcv.ops``, which was imported with our modules in it, with its own."""
    for name, (_, wanted) in names.OPERATORS.items():
        if importlib.util.find_spec(name) is None:  # an old mmcv has not all of them
            continue
        own = importlib.import_module(name)
        for each in wanted:
            if each in vars(package):
                setattr(package, each, getattr(own, each))


def _is_ours(module: Any) -> bool:
    spec = getattr(module, "__spec__", None)
    return getattr(spec, "origin", None) == names.ROOM
