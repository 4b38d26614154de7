"""What is relied on in CuPy's wheels: the names that the provider of ``fft`` uses, for CUDA and ROCm alike."""

from __future__ import annotations

import re
import zipfile
from functools import cache
from pathlib import Path

from vendor_exports import resolve, signatures
from vendor_ours import ROOT
from vendor_uses import Use, uses
from vendor_wheels import Facts, Sources, requires, sources

_COMPILED = re.compile(r"(cupy/cuda/(?:device|stream)|cupy/_core/dlpack|cupy_backends/cuda/api/runtime)\.[\w.-]+\.so")
_PYTHON = re.compile(r"cupy/(__init__|cuda/__init__|fft/(__init__|_fft)|_core/__init__|_creation/\w+)\.py|.*/METADATA")


@cache
def cupy_uses() -> list[Use]:
    """Every use of CuPy in the backends."""
    return uses((ROOT / "backends").rglob("*.py"), "cupy")


def cupy_sources(path: Path) -> Sources:
    """Of CuPy: the Python files that its names come from, and the signatures in its compiled modules."""
    found = sources(path, lambda name: _PYTHON.fullmatch(name) is not None)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if match := _COMPILED.fullmatch(name):
                found[f"{match[1]}.so"] = signatures(archive.read(name))
    # No signature tells of a module's values; the package itself asks for this one.
    if re.search(r"\bruntime\.is_hip\b", found["cupy/cuda/__init__.py"]):
        found["cupy_backends/cuda/api/runtime.so"] += "\nis_hip"
    return found


def cupy_facts(found: Sources) -> Facts:
    """What is relied on in CuPy."""
    names = sorted({one.name for one in cupy_uses()})
    return {
        "requires": [one for one in requires(found) if "extra ==" not in one],
        "names": {name: resolve(found, name) for name in names},
    }
