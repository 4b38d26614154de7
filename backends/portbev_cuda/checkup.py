"""What ``portbev doctor`` looks at for NVIDIA: GPU, driver, container, and torch against them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from portbev.distributions import overwriting
from portbev.doctor import Checkup, Machine, Seen
from portbev.doctor.torch_build import release_of, torch_build, torch_import
from portbev_cuda import linked, smi, toolkit
from portbev_cuda.archs import serves

_WSL = "/usr/lib/wsl/lib/libcuda.so.1"


def facts(machine: Machine) -> Mapping[str, str]:
    """GPUs and driver."""
    found = smi.gpus(machine)
    driver = smi.driver_version(machine)
    if not found and not driver:
        return {}
    names = ", ".join(f"{gpu.name} (sm_{gpu.capability.replace('.', '')})" for gpu in found[:8]) or "no GPU"
    return {"nvidia": f"{names}; driver {driver or 'unknown'}, CUDA up to {smi.driver_major(machine) or 'unknown'}"}


def driver(machine: Machine) -> Iterable[Seen]:
    """GPUs without a driver, a container without its devices, a driver in two versions."""
    on_bus = smi.pci_gpus(machine)
    complaint = smi.complaint(machine)
    if "version mismatch" in complaint:
        yield Seen("nvidia-driver-mismatch", "nvidia-smi", says=complaint)
        return
    if machine.is_wsl:
        if machine.exists("/dev/dxg") and not machine.exists(_WSL):
            yield Seen("wsl-driver", _WSL, "WSL shows a GPU (/dev/dxg), and Windows' driver is not in /usr/lib/wsl/lib")
        return
    loaded = machine.exists("/proc/driver/nvidia/version")
    devices = [name for name in machine.names("/dev") if re.fullmatch(r"nvidia(ctl|\d+)", name)]
    if not devices and (on_bus or loaded):
        where = f"{on_bus[0] if on_bus else '/proc/driver/nvidia/version'}; no /dev/nvidia*"
        if machine.is_container:
            yield Seen("nvidia-container", where, says="Found no NVIDIA driver on your system")
        elif not loaded:
            yield Seen("nvidia-driver-missing", where, says=complaint)
    closed = [name for name in devices if not machine.allowed(f"/dev/{name}", os.R_OK | os.W_OK)]
    if closed:
        yield Seen("nvidia-permission", ", ".join(f"/dev/{name}" for name in closed))


def torch(machine: Machine) -> Iterable[Seen]:
    """torch against the driver and the GPUs."""
    build = torch_build(machine)
    found = smi.gpus(machine)
    if build is None or not found:
        return
    if build.cuda is None:
        if build.hip is None:
            yield Seen("nvidia-torch-without", f"torch {build.version}", _without(found[0].name, build.kind))
        return
    if _hidden(machine, len(found)):
        value = machine.environment["CUDA_VISIBLE_DEVICES"]
        where = f"CUDA_VISIBLE_DEVICES={value!r}"
        yield Seen("nvidia-hidden", where, f"{where} hides every GPU", says="No CUDA GPUs are available")
        return
    major, newest = release_of(build.cuda)[0], smi.driver_major(machine)
    if newest and major > newest:
        version = smi.driver_version(machine)
        what = f"driver {version} runs CUDA up to {newest}, and torch {build.version} is built for CUDA {build.cuda}"
        cure = f"pip install torch --index-url https://download.pytorch.org/whl/{_index(newest)} (or a newer driver)"
        yield Seen("nvidia-driver-old", f"driver {version}", what, cure)
        return
    tried = torch_import(machine)
    if not tried.error and not tried.available:
        words = " ".join(" ".join(tried.said).split())[:200]
        yield Seen("nvidia-unseen", "torch.cuda.is_available()", says=words)
    if tried.archs:
        for gpu in {gpu.capability: gpu for gpu in found}.values():
            if not any(serves(arch, release_of(gpu.capability)) for arch in tried.archs):
                what = f"{gpu.name} is sm_{gpu.capability.replace('.', '')}; this torch has {', '.join(tried.archs)}"
                yield Seen("nvidia-arch", f"torch {build.version}", what)


def cupy(machine: Machine) -> Iterable[Seen]:
    """cupy's wheel against torch's CUDA."""
    build = torch_build(machine)
    if build is None or build.cuda is None or overwriting(machine.packages).get("cupy"):
        return
    for major in ("11", "12", "13"):
        for name in (f"cupy-cuda{major}x", *(f"cupy-cuda{major}{minor}" for minor in range(9))):
            one = machine.package(name)
            if one is not None and int(major) != release_of(build.cuda)[0]:
                wanted = f"cupy-cuda{release_of(build.cuda)[0]}x"
                what = f"{name} is for CUDA {major}, torch {build.version} for CUDA {build.cuda}"
                yield Seen(
                    "cupy-other-cuda",
                    f"{name} {one.version}",
                    what,
                    f"pip uninstall --yes {name} && pip install {wanted}",
                )


CHECKUP = Checkup(
    name="NVIDIA",
    table=Path(__file__).with_name("messages.yaml"),
    checks=(driver, torch, cupy, *linked.CHECKS, *toolkit.CHECKS),
    facts=facts,
)


def _without(gpu: str, kind: str) -> str:
    return f"there is an NVIDIA GPU ({gpu}), and this torch is built {kind}"


def _index(major: int) -> str:
    """The folder of PyTorch's index with builds that drivers of a CUDA major run."""
    return {13: "cu130", 12: "cu126", 11: "cu118"}.get(major, "cpu")


def _hidden(machine: Machine, count: int) -> bool:
    """Whether CUDA_VISIBLE_DEVICES leaves none of ``count`` GPUs: what follows the first number of none is not read."""
    value = machine.environment.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return False
    first = value.split(",")[0].strip()
    return first in ("", "-1") or (first.isdigit() and int(first) >= count)
