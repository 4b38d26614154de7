"""What the project relies on in a wheel, as plain data, and how two such differ. ``facts/`` keeps what was read.

To read a wheel anew: ``python tests/vendor/vendor_facts.py FOLDER`` downloads to FOLDER and rewrites ``facts/``.
Look at the difference and follow it in the providers and stand-ins before committing it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vendor_ours import calls, standins
from vendor_python import Function, function, import_effects
from vendor_wheels import DRIVING, TORCH_NPU, Sources, Wheel, fetch, library, sources

FACTS = Path(__file__).parent / "facts"
LIBRARY = "torch_npu/lib/libtorch_npu.so"
_KERNELS = "mx_driving/packages/vendors/customize/op_impl/ai_core/tbe/"
_STEPS = "customize_impl/dynamic/deformable_conv2d_v2.cpp"
_OPERATORS = re.compile(r"BEVPoolV3|VoxelPool|DeformableConv2d|MultiScaleDeformableAttn")
_SCHEMA = re.compile(rb"\0(npu_deformable_conv2d(?:bk)?\([^\0]*)\0")

Facts = dict[str, Any]


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


def torch_npu_sources(path: Path) -> Sources:
    """Of torch_npu: its package's and ``torch.npu``'s ``__init__``, metadata, and the schemas in its library."""
    plain = {"torch_npu/__init__.py", "torch_npu/npu/__init__.py"}
    found = sources(path, lambda name: name in plain or name.endswith((".dist-info/METADATA", "entry_points.txt")))
    schemas = sorted({match.decode() for match in _SCHEMA.findall(library(path, LIBRARY))})
    return {**found, LIBRARY: "\n".join(schemas)}


def torch_npu_facts(found: Sources) -> Facts:
    """What is relied on in torch_npu."""
    entries = next(text for name, text in found.items() if name.endswith("entry_points.txt"))
    group = re.search(r"\[torch\.backends\]\n([^\[]*)", entries)
    return {
        "requires": requires(found),
        "run by import torch": group[1].split("\n")[0] if group else "",
        "schemas": found[LIBRARY].split("\n"),
        "writes to the environment": re.findall(r"^ *(os\.environ\[[^\n]*)", found["torch_npu/__init__.py"], re.M),
    }


def requires(found: Sources) -> list[str]:
    """The wheel's dependencies."""
    metadata = next(text for name, text in found.items() if name.endswith("METADATA"))
    return [line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]


def schema_function(schema: str) -> Function:
    """The function that a schema of torch describes."""
    arguments = schema[schema.index("(") + 1 : schema.rindex(") ->")]
    return Function("def", [_argument(one) for one in re.split(r", (?![^\[]*\])", arguments)])


def _argument(text: str) -> str:
    kind, _, rest = text.rpartition(" ")
    name, equal, default = rest.partition("=")
    if not equal:
        return name
    length = re.search(r"\[(\d+)\]", kind)
    if length and default.isdigit():  # one number stands for as many
        default = f"[{','.join([default] * int(length[1]))}]"
    return f"{name}={default.replace(',', ', ')}"


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
    if wheel.package == "mx_driving":
        found = driving_sources(fetch(wheel, folder))
        return found, driving_facts(found)
    found = torch_npu_sources(fetch(wheel, folder))
    return found, torch_npu_facts(found)


if __name__ == "__main__":
    for one in (*DRIVING, *TORCH_NPU):
        text = json.dumps(read(one, Path(sys.argv[1]))[1], indent=1, ensure_ascii=False)
        (FACTS / f"{one.package}-{one.version}.json").write_text(text + "\n", encoding="utf-8")
