"""Whether two calls have the same arguments, however they are written."""

from __future__ import annotations

import re
from collections import Counter

_KEYWORD = re.compile(r"(\w+)=")
_VALUE = re.compile(r"'[^']*'|[^\s(),{}]+")
_LEFT_OUT = frozenset({"None", "False"})
"""Values that are most functions' defaults: one caller writes them, another leaves them out."""


def same_arguments(one: str, other: str) -> bool:
    """Whether the texts of two calls' arguments say the same.

    Where one names arguments that the other gives by their place, or leaves out, the values alone are compared.
    """
    if one == other:
        return True
    if set(_KEYWORD.findall(one)) == set(_KEYWORD.findall(other)):
        return False
    return _values(one) == _values(other)


def _values(text: str) -> Counter[str]:
    return Counter(value for value in _VALUE.findall(_KEYWORD.sub("", text)) if value not in _LEFT_OUT)
