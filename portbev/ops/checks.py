"""How operators refuse a bad argument."""

from __future__ import annotations


def need(operator: str, condition: bool, text: str) -> None:
    """Raise ``ValueError`` with the operator's name and ``text``, which names the argument, unless ``condition``."""
    if not condition:
        raise ValueError(f"{operator}: {text}")
