"""How a name that is not covered is refused: by name, with what is covered and what can be done."""

from __future__ import annotations

from typing import Any, NoReturn

from portbev.compat.mmcv.names import EXPORTED

COVERED = ", ".join(EXPORTED)


class UncoveredError(ModuleNotFoundError):
    """An import of something of mmcv's that portbev does not stand in for."""


class UncoveredCallError(NotImplementedError):
    """A call of such a thing, where it was imported with ``uncovered="call"``."""


def line(name: str) -> str:
    """Why ``name`` (with its module) is refused."""
    text = f"{name} is not covered by portbev.compat.mmcv"
    if name.startswith(("mmcv.ops", "mmcv._ext")):
        cure = "If it is imported and never called: install(uncovered='call'), or --uncovered call"
        return f"{text}, which has of mmcv.ops: {COVERED}. {cure}"
    return f"{text}, and no mmcv is installed. Its Python parts: pip install mmcv-lite"


def stand_in(name: str) -> Any:
    """A class named like ``name`` that refuses to be made or called, and a function that does if it is one of the
    extension's."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        text = f"{name} was called. It is not covered by portbev.compat.mmcv, which has of mmcv.ops: {COVERED}"
        raise UncoveredCallError(text)

    short = name.rpartition(".")[2]
    if name.startswith("mmcv._ext"):
        refuse.__name__ = refuse.__qualname__ = short
        return refuse
    return type(short, (), {"__new__": refuse, "apply": staticmethod(refuse), "__module__": name.rpartition(".")[0]})
