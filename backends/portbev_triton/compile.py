"""Compiles every kernel for named architectures, on any machine: ``python -m portbev_triton.compile [ARCH ...]``.

Prints a table of registers, spilled registers and shared memory, as Markdown or with ``--json``. No device is needed:
Triton's wheel has both compilers and NVIDIA's assembler.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from portbev_triton.launch import settings
from portbev_triton.records import MODULES
from portbev_triton.variants import Variant

ARCHITECTURES = ("sm_80", "sm_89", "sm_90", "sm_100", "sm_120", "gfx90a", "gfx942", "gfx950", "gfx1100")
OPTIONS = ("num_warps", "num_stages", "waves_per_eu", "maxnreg")


@dataclass(frozen=True)
class Compiled:
    """What a kernel takes on an architecture.

    Attributes:
        registers: of a thread; vector registers on AMD.
        spills: on NVIDIA bytes of a thread's stack, on AMD spilled vector registers.
        shared: bytes of shared memory of a program.
    """

    kernel: str
    variant: str
    architecture: str
    registers: int
    spills: int
    shared: int


def compiled(variant: Variant, architecture: str) -> Compiled:
    """Compile ``variant`` with its settings for ``architecture``, and look at what it takes."""
    result = compile_variant(variant, architecture)
    registers, spills = _nvidia(result) if "cubin" in result.asm else _amd(result)
    return Compiled(variant.name, variant.label, architecture, registers, spills, int(result.metadata.shared))


def compile_variant(variant: Variant, architecture: str) -> Any:
    """``variant`` with its settings for ``architecture``, as Triton compiles it."""
    import triton
    from triton.compiler import ASTSource

    chosen = settings(variant.name, architecture)
    blocks = {name: value for name, value in chosen.items() if name not in OPTIONS}
    constants = {**variant.constants, **blocks}
    names = list(variant.kernel.arg_names)
    signature = {name: "constexpr" if name in constants else variant.signature[name] for name in names}
    multiple = [["tt.divisibility", 16]]
    aligned = {(at,): multiple for at, n in enumerate(names) if signature[n].startswith("*") or n in variant.aligned}
    source = ASTSource(variant.kernel, signature, {(names.index(n),): v for n, v in constants.items()}, aligned)
    options = {name: chosen[name] for name in OPTIONS if name in chosen}
    return triton.compile(source, target=_target(architecture), options=options)


def variants() -> Iterator[Variant]:
    """Of every kernel of this package."""
    for module in MODULES:
        yield from module.variants()


def _target(architecture: str) -> Any:
    from triton.backends.compiler import GPUTarget

    if architecture.startswith("sm_"):
        return GPUTarget("cuda", int(architecture.removeprefix("sm_")), 32)
    return GPUTarget("hip", architecture, 64 if architecture.startswith("gfx9") else 32)


def _nvidia(result: Any) -> tuple[int, int]:
    """Registers, and bytes of the stack, which is where spilled registers go, as NVIDIA's ``cuobjdump`` tells."""
    from triton import knobs

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(result.asm["cubin"])
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(int(found) for found in re.findall(r"REG:(\d+) STACK:(\d+)", told)[0])  # type: ignore[return-value]


def _amd(result: Any) -> tuple[int, int]:
    """Vector registers and how many are spilled, which the assembly's notes tell."""
    text = result.asm["amdgcn"]
    told = {name: re.search(rf"\.{name}:\s+(\d+)", text) for name in ("vgpr_count", "vgpr_spill_count")}
    return tuple(int(found[1]) if found else -1 for found in told.values())  # type: ignore[return-value]


def markdown(rows: Iterable[Compiled]) -> str:
    """A table: a row a variant; registers, then spills and shared memory where there are any."""
    rows = list(rows)
    columns = list(dict.fromkeys(row.architecture for row in rows))
    lines = ["| kernel | variant | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for kernel, variant in dict.fromkeys((row.kernel, row.variant) for row in rows):
        cells = {row.architecture: _cell(row) for row in rows if (row.kernel, row.variant) == (kernel, variant)}
        lines.append(f"| {kernel} | {variant} | " + " | ".join(cells.get(column, "") for column in columns) + " |")
    return "\n".join(lines)


def _cell(row: Compiled) -> str:
    spills = f", {row.spills} spilled" if row.spills else ""
    shared = f", {row.shared} B" if row.shared else ""
    return f"{row.registers}{spills}{shared}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m portbev_triton.compile", description=__doc__)
    parser.add_argument("architectures", nargs="*", default=list(ARCHITECTURES), metavar="ARCH")
    parser.add_argument("--json", action="store_true", help="JSON in place of Markdown")
    parser.add_argument("--only", default="", help="kernels whose name contains this")
    given = parser.parse_args()
    chosen = [variant for variant in variants() if given.only in variant.name]
    rows = [compiled(variant, architecture) for variant in chosen for architecture in given.architectures]
    print(json.dumps([asdict(row) for row in rows], indent=1) if given.json else markdown(rows))
    return int(any(row.spills for row in rows))


if __name__ == "__main__":
    sys.exit(main())
