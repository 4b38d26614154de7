"""Tokens of table rows."""

from __future__ import annotations

from portbev.rng import key_of
from portbev_nuscenes.synth.options import SynthOptions


def token(options: SynthOptions, scene: int, *parts: int | str) -> str:
    """Token (32 hex digits) of a row of a scene, named by ``parts``; it depends on the seed."""
    return f"{key_of('synth', options.seed, scene, *parts):032x}"


def fixed_token(table: str, name: str) -> str:
    """Token (32 hex digits) of a row that all generated data sets share: a category, an attribute, a sensor."""
    return f"{key_of('synth', table, name):032x}"
