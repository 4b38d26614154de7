"""What modules and the optimizer are set to on each side, as far as it differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from portbev.parity.dumps.likeness import WAYS, hyperparameters
from portbev.parity.dumps.reading import Dump


def module_settings(a: Dump, b: Dump, name: str) -> str:
    """The settings of module ``name`` that both dumps know and that differ, as a line; empty for none."""
    first, second = _settings(a, name), _settings(b, name)
    told = _differing(first, second)
    return f"{name or 'the model'} is set to {', '.join(told)}" if told else ""


def average_settings(a: Dump, b: Dump) -> str:
    """Settings of the moving average that differ, as a line; empty for none."""
    first, second = a.header.average, b.header.average
    told = _differing(first, second)
    return f"the moving average has {', '.join(told)}" if told else ""


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Values of the keys that both have."""
    keys = [key for key in first if key in second and first[key] != second[key]]
    return [f"{key} {first[key]} in a and {second[key]} in b" for key in keys]


def _settings(dump: Dump, name: str) -> Mapping[str, Any]:
    found = next((entry for entry in dump.header.modules if name in entry.get("modules", ())), {})
    settings: Mapping[str, Any] = found.get("settings", {})
    return settings


def optimizer_settings(a: Dump, b: Dump, name: str = "") -> Iterator[str]:
    """Settings of the optimizer that differ, with whose; those of parameter ``name`` first."""
    first, second = hyperparameters(a), hyperparameters(b)
    for side, mine, others in (("a", first, second), ("b", second, first)):
        lost = [parameter for parameter in others if parameter not in mine]
        if lost:
            shown, more = (name if name in lost else lost[0]), f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            yield f"the optimizer of {side} does not have {shown}{more}, which is therefore not trained"
    differing: dict[tuple[str, str, str], list[str]] = {}
    for parameter in first.keys() & second.keys():
        one, other = first[parameter], second[parameter]
        for key in sorted({*one, *other} - WAYS):
            if one.get(key) != other.get(key):
                differing.setdefault((key, str(one.get(key)), str(other.get(key))), []).append(parameter)
    for (key, mine_, yours), names in sorted(differing.items(), key=lambda item: (name not in item[1], item[0])):
        shown = name if name in names else min(names)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{key} of {shown}{more}: {mine_} in a, {yours} in b"
