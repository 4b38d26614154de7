"""What ``portbev doctor`` looks at for AMD: GPU, driver, container, and torch and cupy against them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from portbev.distributions import overwriting
from portbev.doctor import Checkup, Machine, Seen
from portbev.doctor.torch_build import release_of, torch_build, torch_import

_KFD, _NODES = "/dev/kfd", "/sys/class/kfd/kfd/topology/nodes"
_NONE = "RuntimeError: No HIP GPUs are available"
_LIMITS = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def facts(machine: Machine) -> Mapping[str, str]:
    """Architectures of the GPUs."""
    found = gpu_archs(machine)
    return {"amd": ", ".join(found)} if found else {}


def gpu_archs(machine: Machine) -> list[str]:
    """``gfx942`` for each GPU, from the kernel driver's topology: 90402 there."""
    found = []
    for node in machine.names(_NODES):
        text = machine.text(f"{_NODES}/{node}/properties") or ""
        match = re.search(r"^gfx_target_version (\d+)", text, re.MULTILINE)
        if match and int(match[1]):
            number = int(match[1])
            found.append(f"gfx{number // 10000}{number // 100 % 100:x}{number % 100:x}")
    return found


def driver(machine: Machine) -> Iterable[Seen]:
    """The driver's device, where torch is built for it."""
    build = torch_build(machine)
    if build is None or build.hip is None:
        return
    if not machine.exists(_KFD):
        row = "amd-container" if machine.is_container and gpu_archs(machine) else "amd-driver-missing"
        yield Seen(row, f"no {_KFD}", says=_NONE)
    elif not machine.allowed(_KFD, os.R_OK | os.W_OK):
        yield Seen("amd-permission", _KFD)


def torch(machine: Machine) -> Iterable[Seen]:
    """torch against the GPUs."""
    build, found = torch_build(machine), gpu_archs(machine)
    if build is None or not found or not machine.exists(_KFD):
        return
    if build.hip is None:
        if build.cuda is None:
            what = f"there is an AMD GPU ({found[0]}) with its driver, and this torch is built {build.kind}"
            yield Seen("amd-torch-without", f"torch {build.version}", what, says="Torch not compiled with CUDA enabled")
        return
    hidden = [name for name in _LIMITS if machine.environment.get(name, "0").strip() in ("", "-1")]
    if hidden:
        where = ", ".join(f"{name}={machine.environment[name]!r}" for name in hidden)
        yield Seen("amd-hidden", where, f"{where} hides every AMD GPU", f"unset {' '.join(hidden)}", _NONE)
        return
    built = torch_import(machine).archs
    missing = sorted(set(found) - set(built))
    if built and missing and not machine.environment.get("HSA_OVERRIDE_GFX_VERSION"):
        what = f"the GPU is {', '.join(missing)}; this torch has {', '.join(built)}"
        yield Seen("amd-arch", f"torch {build.version}", what)


def cupy(machine: Machine) -> Iterable[Seen]:
    """cupy's wheel against torch's ROCm, or its CUDA."""
    build = torch_build(machine)
    if build is None or not (build.cuda or build.hip) or overwriting(machine.packages).get("cupy"):
        return
    for name, (one, *_) in machine.packages.items():
        rocm = re.fullmatch(r"cupy-rocm-(\d+)-\d+", name)
        major = release_of(build.hip)[0]
        if rocm and int(rocm[1]) != major:
            what = f"{name} is for ROCm {rocm[1]}, torch {build.version} is built {build.kind}"
            wanted = f" && pip install cupy-rocm-{major}-0" if major == 7 else ""
            says = f"libamdhip64.so.{rocm[1]}: cannot open shared object file: No such file or directory"
            yield Seen("cupy-other-rocm", f"{name} {one.version}", what, f"pip uninstall --yes {name}{wanted}", says)
        elif build.hip and name.startswith("cupy-cuda"):
            what = f"{name} is for CUDA, torch {build.version} is built {build.kind}"
            yield Seen("cupy-other-rocm", f"{name} {one.version}", what, f"pip uninstall --yes {name}")


CHECKUP = Checkup(
    name="AMD", table=Path(__file__).with_name("messages.yaml"), checks=(driver, torch, cupy), facts=facts
)
