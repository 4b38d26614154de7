"""Peculiarities of original implementations as switches of a configuration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from portbev.config.schema import Section

Choice = Literal["official", "fixed"]
"""``official`` does as the original does, and as its checkpoints were trained; ``fixed`` does what was meant."""


class Quirks(Section):
    """A section of choices; one word in its place stands for all of them."""

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in ("official", "fixed"):
                raise ValueError("quirks is official, fixed, or a section that says it of each")
            return dict.fromkeys(cls.model_fields, value)
        return value
