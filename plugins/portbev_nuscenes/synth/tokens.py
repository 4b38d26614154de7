"""Tokens of table rows."""

from __future__ import annotations

from portbev.rng import key_of
from portbev_nuscenes.synth.options import SynthOptions


def token(options: SynthOptions, scene: int, *parts: int | str) -> str:
    """32 hex digits that name something in a scene; another seed gives other tokens."""
    return f"{key_of('synth', options.seed, scene, *parts):032x}"


def fixed_token(table: str, name: str) -> str:
    """32 hex digits that name a row that every data set has: a category, an attribute, a sensor."""
    return f"{key_of('synth', table, name):032x}"
