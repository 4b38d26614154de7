"""What the project relies on in a wheel, as plain data, and how two such differ. ``facts/`` keeps what was read.

To read wheels anew: ``python tests/vendor/vendor_facts.py FOLDER [PACKAGE ...]`` downloads to FOLDER and rewrites
``facts/``. Look at the difference and follow it in the providers and stand-ins before committing it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from vendor_cupy import cupy_facts, cupy_sources
from vendor_driving import driving_facts, driving_sources
from vendor_torch_npu import torch_npu_facts, torch_npu_sources
from vendor_triton import triton_facts, triton_sources
from vendor_wheels import ASCEND, GPU, Facts, Sources, Wheel, fetch

FACTS = Path(__file__).parent / "facts"
_READERS = {
    "mx": (driving_sources, driving_facts),
    "torch": (torch_npu_sources, torch_npu_facts),
    "cupy": (cupy_sources, cupy_facts),
    "triton": (triton_sources, triton_facts),
}


def differences(expected: Any, found: Any, where: str = "") -> list[str]:
    """Every place where two facts differ, a line each."""
    if isinstance(expected, dict) and isinstance(found, dict):
        names = list(dict.fromkeys([*expected, *found]))
        return [line for name in names for line in differences(expected.get(name), found.get(name), f"{where}/{name}")]
    if isinstance(expected, list) and isinstance(found, list) and expected != found:
        gone, new = [one for one in expected if one not in found], [one for one in found if one not in expected]
        return [f"{where}: gone {gone}, new {new}" if gone or new else f"{where}: in another order: {found}"]
    return [] if expected == found else [f"{where}: was {expected!r}, is {found!r}"]


def recorded(wheel: Wheel) -> Facts:
    """What was read when the providers were last brought in line with this wheel."""
    facts: Facts = json.loads((FACTS / f"{wheel.package}-{wheel.version}.json").read_text(encoding="utf-8"))
    return facts


def read(wheel: Wheel, folder: Path) -> tuple[Sources, Facts]:
    """The wheel's text and facts; see :func:`vendor_wheels.fetch` for what is raised."""
    sources_of, facts_of = _READERS[wheel.package.split("_")[0]]
    found = sources_of(fetch(wheel, folder))
    return found, facts_of(found)


if __name__ == "__main__":
    for one in (*ASCEND, *GPU):
        if one.package in sys.argv[2:] or not sys.argv[2:]:
            text = json.dumps(read(one, Path(sys.argv[1]))[1], indent=1, ensure_ascii=False)
            (FACTS / f"{one.package}-{one.version}.json").write_text(text + "\n", encoding="utf-8")
