"""What is relied on in mx_driving's wheels, those for Atlas A2 and A3 and those for A5."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from vendor_ours import calls, standins
from vendor_python import function, import_effects
from vendor_wheels import Facts, Sources, requires, sources

_KERNELS = "mx_driving/packages/vendors/customize/op_impl/ai_core/tbe/"
_STEPS = "customize_impl/dynamic/deformable_conv2d_v2.cpp"
_OPERATORS = re.compile(r"BEVPoolV3|VoxelPool|DeformableConv2d|MultiScaleDeformableAttn")


def driving_sources(path: Path) -> Sources:
    """Of mx_driving: its Python files, its metadata, which operators each chip has, and one kernel's source."""

    def wanted(name: str) -> bool:
        if name.startswith("mx_driving/packages/"):
            return name.endswith("-ops-info.json") or name == _KERNELS + _STEPS
        return name.endswith((".py", "/METADATA"))

    return sources(path, wanted)


def driving_functions() -> list[str]:
    """Public functions that a provider calls or a stand-in imitates."""
    called = {one.name for one in calls("mx_driving") if not one.name.startswith("_C.")}
    return sorted(called | set(standins("driving")))


def driving_facts(found: Sources) -> Facts:
    """What is relied on in mx_driving."""
    return {
        "requires": requires(found),
        "import": import_effects(found, "mx_driving"),
        "functions": {name: function(found, "mx_driving", name).facts() for name in driving_functions()},
        "operators": dict(_chips(found)),
        # The second set of kernels reads these and never uses them: declared once, assigned once.
        "uses of the step sizes": {
            name: found.get(_KERNELS + _STEPS, "").count(name) for name in ("strideH_", "padH_", "dilationH_")
        },
    }


def _chips(found: Sources) -> Iterator[tuple[str, dict[str, str]]]:
    """For each chip, the operators that the project uses there with the types of their first input."""
    for path in sorted(found):
        if path.endswith("-ops-info.json"):
            operators = json.loads(found[path])
            chip = re.sub(r".*aic-(.*)-ops-info\.json", r"\1", path)
            yield (
                chip,
                {
                    name: ",".join(dict.fromkeys(str(operators[name].get("input0", {}).get("dtype", "")).split(",")))
                    for name in sorted(operators)
                    if _OPERATORS.search(name)
                },
            )
