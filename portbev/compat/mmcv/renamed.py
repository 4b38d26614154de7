"""Arguments that mmcv has renamed: the old name is taken, with a warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def renamed(names: Mapping[str, str], owner: str) -> Callable[[Function], Function]:
    """Decorator: keyword arguments by the old ``names`` are passed on by the new ones.

    Raises (when called):
        AssertionError: both were given, as mmcv does.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old, new in names.items():
                if old in kwargs:
                    if new in kwargs:
                        raise AssertionError(f"{owner}: {old!r} is the old name of {new!r}; give one of them")
                    text = f"{owner}: {old!r} is deprecated, use {new!r}"
                    warnings.warn(text, DeprecationWarning, stacklevel=2)
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate
