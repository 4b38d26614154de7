"""The CUDA toolkit and GCC, which matter only where something is to be compiled."""

from __future__ import annotations

import re
from collections.abc import Iterable

from portbev.doctor import Check, Machine, Seen
from portbev.doctor.torch_build import release_of, torch_build

NEWEST_GCC = (
    ((13, 0), 15),
    ((12, 8), 14),
    ((12, 4), 13),
    ((12, 0), 12),
    ((11, 4), 11),
    ((11, 1), 10),
    ((11, 0), 9),
    ((10, 1), 8),
    ((9, 2), 7),
    ((9, 0), 6),
)
"""From this release of CUDA on: the newest GCC that nvcc takes (installation guide for Linux, supported compilers)."""


def compiling(machine: Machine) -> Iterable[Seen]:
    """nvcc against torch, GCC against nvcc; silent unless somebody says that he is going to compile."""
    build = torch_build(machine)
    if not machine.compiles or build is None or build.cuda is None:
        return
    nvcc, version = _nvcc(machine)
    if not version:
        cure = f"Install the toolkit of CUDA {build.cuda} and export CUDA_HOME=/usr/local/cuda-{build.cuda}"
        yield Seen("nvcc-missing", f"{nvcc} --version", cure=cure)
        return
    have, wanted = release_of(version), release_of(build.cuda)
    if have != wanted:
        row = "nvcc-other-minor" if have[0] == wanted[0] else "nvcc-other-cuda"
        says = (
            f"The detected CUDA version ({version}) mismatches the version that was used to compile PyTorch "
            f"({build.cuda})"
        )
        what = f"nvcc is of CUDA {version}, torch is built for CUDA {build.cuda}"
        cure = f"export CUDA_HOME=/usr/local/cuda-{build.cuda} PATH=/usr/local/cuda-{build.cuda}/bin:$PATH"
        yield Seen(row, nvcc, what, cure, "" if have[0] == wanted[0] else says)
    newest = next((gcc for oldest, gcc in NEWEST_GCC if have >= oldest), 0)
    compiler = machine.environment.get("CC", "gcc")
    gcc = _gcc(machine, compiler)
    if newest and gcc > newest:
        what = f"{compiler} is GCC {gcc}; CUDA {version} takes GCC up to {newest}"
        says = f"#error -- unsupported GNU version! gcc versions later than {newest} are not supported!"
        cure = f"sudo apt-get install g++-{newest} && export NVCC_PREPEND_FLAGS='-ccbin g++-{newest}'"
        yield Seen("gcc-too-new", f"{compiler} --version", what, cure, says)


CHECKS: tuple[Check, ...] = (compiling,)


def _nvcc(machine: Machine) -> tuple[str, str]:
    """The compiler that a build of an extension would take, and its release; "" if it is not there."""
    home = machine.environment.get("CUDA_HOME") or machine.environment.get("CUDA_PATH")
    for path in [f"{home}/bin/nvcc"] if home else ["nvcc", "/usr/local/cuda/bin/nvcc"]:
        answer = machine.answer(path, "--version")
        found = re.search(r"release (\d+\.\d+)", answer.output) if answer is not None else None
        if found:
            return path, found[1]
    return f"{home}/bin/nvcc" if home else "nvcc", ""


def _gcc(machine: Machine, name: str) -> int:
    """GCC's major release; 0 if it is not there or is another compiler."""
    answer = machine.answer(name, "--version")
    first = answer.output.splitlines()[0] if answer is not None and answer.output else ""
    found = re.search(r"\b(\d+)\.\d+\.\d+", first) if re.search(r"gcc|g\+\+|GCC", first) else None
    return int(found[1]) if found else 0
