"""CUDA's libraries: those that the loader would take before torch's, and those that extensions ask for."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable

from portbev.doctor import Check, Machine, Seen
from portbev.doctor.torch_build import parsed, release_of, torch_build

_RUNTIME = re.compile(r"libcudart\.so\.(\d+(?:\.\d+)?)")
_OTHERS = re.compile(r"lib(cublas|cublasLt|cudnn|nccl)\.so\.\d")
_EXTENSIONS = ("mmcv", "mmdet3d")


def preferred_libraries(machine: Machine) -> Iterable[Seen]:
    """LD_LIBRARY_PATH, which the loader asks before the folders that torch names."""
    build = torch_build(machine)
    if build is None or build.cuda is None:
        return
    others = []
    for folder in machine.folders("LD_LIBRARY_PATH"):
        names = machine.names(folder)
        versions = sorted({_full(name) for name in names if _RUNTIME.match(name)}, key=len)
        if versions and not _same(versions[-1], build.cuda):
            what = f"LD_LIBRARY_PATH has CUDA {versions[-1]}'s runtime, torch is built for CUDA {build.cuda}"
            yield Seen("cuda-runtime-first", f"{folder}/libcudart.so.{versions[-1]}", what, _without(machine, folder))
        others += [f"{folder}/{name}" for name in names if _OTHERS.match(name) and not _is_torchs(folder)]
    if others:
        folder = others[0].rpartition("/")[0]
        yield Seen("cublas-first", ", ".join(others[:4]), cure=_without(machine, folder))


def extensions(machine: Machine) -> Iterable[Seen]:
    """The CUDA runtime that compiled operators ask for, read in the files."""
    build = torch_build(machine)
    if build is None:
        return
    for folder in machine.search:
        for package in _EXTENSIONS:
            for path in _shared_objects(machine, f"{folder}/{package}"):
                wanted = _runtime_of(machine, path)
                if wanted and release_of(wanted)[0] != release_of(build.cuda)[0]:
                    what = f"{package}'s extension asks for CUDA {wanted}, torch is built {build.kind}"
                    says = f"libcudart.so.{wanted}: cannot open shared object file: No such file or directory"
                    yield Seen("cuda-runtime-missing", path, what, says=says)


def nccl(machine: Machine) -> Iterable[Seen]:
    """NCCL in WSL."""
    found = [one for name, (one, *_) in machine.packages.items() if name.startswith("nvidia-nccl")]
    if machine.is_wsl and found and parsed(found[0].version) < parsed("2.11"):
        yield Seen("nccl-old-wsl", f"{found[0].name} {found[0].version}, in WSL")


CHECKS: tuple[Check, ...] = (preferred_libraries, extensions, nccl)


def _full(name: str) -> str:
    found = _RUNTIME.match(name)
    return found[1] if found else ""


def _same(found: str, built: str) -> bool:
    """From CUDA 11 on a runtime serves its whole major release if it is no older; ``12`` alone is a link to one."""
    if "." not in found:
        return release_of(found)[0] == release_of(built)[0]
    have, want = release_of(found), release_of(built)
    return have[0] == want[0] and have >= want


def _is_torchs(folder: str) -> bool:
    """Whether a folder is one of the wheels that torch itself brings."""
    return "/site-packages/nvidia/" in folder or folder.endswith("/torch/lib")


def _without(machine: Machine, folder: str) -> str:
    """LD_LIBRARY_PATH without a folder."""
    kept = [one for one in machine.environment.get("LD_LIBRARY_PATH", "").split(":") if one and one != folder]
    return f"export LD_LIBRARY_PATH={':'.join(kept)}" if kept else "unset LD_LIBRARY_PATH"


def _shared_objects(machine: Machine, folder: str) -> list[str]:
    """Compiled extensions of a package: in its folder, and in those of mmdet3d's operators."""
    folders = [folder, *(f"{folder}/ops/{name}" for name in machine.names(f"{folder}/ops"))]
    return [f"{one}/{name}" for one in folders for name in machine.names(one) if name.endswith(".so")]


def _runtime_of(machine: Machine, path: str) -> str:
    """The release of libcudart that a library names; "" if none."""
    try:
        with open(machine.at(path), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = re.search(rb"libcudart\.so\.(\d+(?:\.\d+)?)\0", content)
            return found[1].decode() if found else ""
    except (OSError, ValueError):  # ValueError: an empty file
        return ""
