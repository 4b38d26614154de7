"""Tokens of table rows. May import: options, rng."""

from __future__ import annotations

from portbev.data.synth.options import SynthOptions
from portbev.rng import key_of


def token(options: SynthOptions, scene: int, *parts: int | str) -> str:
    """32 hex digits that name something in a scene; another seed gives other tokens."""
    return f"{key_of('synth', options.seed, scene, *parts):032x}"


def fixed_token(table: str, name: str) -> str:
    """32 hex digits that name a row that every data set has: a category, an attribute, a sensor."""
    return f"{key_of('synth', table, name):032x}"
