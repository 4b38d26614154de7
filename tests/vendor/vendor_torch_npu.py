"""What is relied on in torch_npu's wheels: schemas, ``torch.npu``'s names, registered operators, CANN's libraries."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from vendor_exports import Parameters, resolve
from vendor_ours import ROOT, emulated
from vendor_python import Function, MissingFunctionError
from vendor_uses import Use, uses
from vendor_wheels import Facts, Sources, library, members, requires, sources

LIBRARY = "torch_npu/lib/libtorch_npu.so"
NEEDED, REGISTERED = f"{LIBRARY}: needed", f"{LIBRARY}: registered"
_SCHEMA = re.compile(rb"\0(npu_deformable_conv2d(?:bk)?\([^\0]*)\0")
_WRAPPER = re.compile(rb"\0wrapper_(?:Autograd)?NPU_\w*?_((?:_|[a-z])\w*)(?=\0)")


def torch_npu_sources(path: Path) -> Sources:
    """Of torch_npu: its package's ``__init__``, ``torch.npu``'s files, metadata, and what its library tells."""

    def wanted(name: str) -> bool:
        ours = name == "torch_npu/__init__.py" or re.fullmatch(r"torch_npu/npu/\w+\.py", name) is not None
        return ours or name.endswith((".dist-info/METADATA", "entry_points.txt"))

    binary = library(path, LIBRARY)
    return {
        **sources(path, wanted),
        LIBRARY: "\n".join(sorted({match.decode() for match in _SCHEMA.findall(binary)})),
        NEEDED: "\n".join(one for one in _needed(binary) if f"torch_npu/lib/{one}" not in members(path)),
        REGISTERED: "\n".join(sorted({match.decode() for match in _WRAPPER.findall(binary)})),
    }


def torch_npu_facts(found: Sources) -> Facts:
    """What is relied on in torch_npu."""
    entries = next(text for name, text in found.items() if name.endswith("entry_points.txt"))
    group = re.search(r"\[torch\.backends\]\n([^\[]*)", entries)
    return {
        "requires": requires(found),
        "run by import torch": group[1].split("\n")[0] if group else "",
        "schemas": found[LIBRARY].split("\n"),
        "writes to the environment": re.findall(r"^ *(os\.environ\[[^\n]*)", found["torch_npu/__init__.py"], re.M),
        "libraries of CANN": found[NEEDED].split("\n"),
        "registered though Ascend does not list them": refused_but_registered(found),
        "names": dict(_names(found)),
    }


@cache
def npu_uses() -> list[Use]:
    """Every use that the npu backend and the framework make of ``torch.npu``."""
    folders = (ROOT / "backends" / "portbev_npu", ROOT / "portbev")
    return uses((one for folder in folders for one in folder.rglob("*.py")), "torch.npu", {"self.module": "torch.npu"})


def _names(found: Sources) -> Iterator[tuple[str, Parameters]]:
    """Parameters of each name of ``torch.npu`` that is used or emulated, those that the wheel has."""
    for name in sorted({one.name for one in npu_uses()} | set(emulated())):
        try:
            yield name, resolve(found, name.replace("torch.npu", "torch_npu.npu", 1))
        except MissingFunctionError:
            continue


def refused_but_registered(found: Sources) -> list[str]:
    """Operators that the emulated device refuses and the wheel registers; with the bases of the Fourier transforms.

    Registered is no proof of running: the list that the emulated device follows is Ascend's documentation.
    """
    from portbev_emulated.refused import refused

    registered = set(found[REGISTERED].split("\n"))
    names = {*(name.split(".")[0] for name in refused()), "_fft_c2c", "_fft_r2c", "_fft_c2r", "_to_sparse"}
    return sorted(names & registered)


def _needed(binary: bytes) -> Iterator[str]:
    """Shared libraries that the loader wants beside torch's and the system's."""
    from elftools.elf.elffile import ELFFile  # in the environments that read wheels

    dynamic = ELFFile(io.BytesIO(binary)).get_section_by_name(".dynamic")
    names = sorted(tag.needed for tag in dynamic.iter_tags("DT_NEEDED"))
    return (one for one in names if not re.match(r"lib(torch|c10|stdc|gcc|m\.|c\.|dl|pthread|rt)|ld-linux", one))


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
