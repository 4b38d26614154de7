"""What ``nvidia-smi`` and the kernel say of the GPUs and the driver."""

from __future__ import annotations

import re
from dataclasses import dataclass

from portbev.doctor import Machine

NVIDIA, DISPLAYS = "0x10de", ("0x0300", "0x0302")
_NEWEST = (
    (580, 13),
    (525, 12),
    (450, 11),
    (410, 10),
)  # of drivers for Linux: the first that runs programs of that major


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name and compute capability (``9.0``)."""

    name: str
    capability: str


def pci_gpus(machine: Machine) -> list[str]:
    """NVIDIA's GPUs on the bus, as folders of /sys."""
    return machine.pci(NVIDIA, DISPLAYS)


def driver_version(machine: Machine) -> str:
    """``550.54.15``; "" without a driver."""
    text = machine.text("/proc/driver/nvidia/version") or ""
    found = re.search(r"Kernel Module.*?\s(\d{3,}\.[\d.]+)", text)
    if found:
        return found[1]
    found = re.search(r"Driver Version:\s*([\d.]+)", _said(machine))
    return found[1] if found else ""


def driver_major(machine: Machine) -> int:
    """The newest CUDA major release that the driver runs; 0 if that is not known."""
    found = re.search(r"CUDA (?:UMD )?Version:\s*(\d+)", _said(machine))
    if found:
        return int(found[1])
    branch = int(driver_version(machine).split(".")[0] or 0)
    return next((major for oldest, major in _NEWEST if branch >= oldest), 0)


def gpus(machine: Machine) -> list[Gpu]:
    """The GPUs that nvidia-smi lists."""
    answer = machine.answer("nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader")
    lines = answer.output.splitlines() if answer is not None and answer.status == 0 else []
    pairs = [line.rpartition(",") for line in lines if re.search(r",\s*\d+\.\d+\s*$", line)]
    return [Gpu(name.strip(), capability.strip()) for name, _, capability in pairs]


def complaint(machine: Machine) -> str:
    """nvidia-smi's error; "" if it has none or is not there."""
    answer = machine.answer("nvidia-smi")
    return " ".join(answer.output.split())[:200] if answer is not None and answer.status else ""


def _said(machine: Machine) -> str:
    answer = machine.answer("nvidia-smi")
    return answer.output if answer is not None and answer.status == 0 else ""
