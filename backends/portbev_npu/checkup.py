"""What ``portbev doctor`` looks at for Ascend: chip, driver, container, CANN, and packages against each other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from portbev.combinations import environment
from portbev.doctor import Checkup, Machine, Seen
from portbev.doctor.torch_build import release_of, torch_build
from portbev_npu.combinations import ROWS, cann_release
from portbev_npu.vendor import CANN_LIBRARIES, DRIVER

_HUAWEI, _ACCELERATORS = "0x19e5", ("0x1200",)
_SYSTEM = ("/lib", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_TOOLKITS = ("/usr/local/Ascend/ascend-toolkit", "/usr/local/Ascend/cann", "/home/HwHiAiUser/Ascend/ascend-toolkit")


def facts(machine: Machine) -> Mapping[str, str]:
    """Chips and CANN."""
    found = _devices(machine)
    cann = _cann(machine)
    said = [f"{len(found)} x /dev/davinci*"] if found else []
    said += [f"CANN {cann}"] if cann else []
    return {"ascend": ", ".join(said)} if said else {}


def driver(machine: Machine) -> Iterable[Seen]:
    """The driver's devices, and whether this user may open them."""
    on_bus, devices = machine.pci(_HUAWEI, _ACCELERATORS), _devices(machine)
    if on_bus and not devices:
        row = "npu-container" if machine.is_container else "npu-driver-missing"
        yield Seen(row, f"{on_bus[0]}; no /dev/davinci*")
    closed = [path for path in devices if not machine.allowed(path, os.R_OK | os.W_OK)]
    if closed:
        yield Seen("npu-permission", ", ".join(closed[:4]))
    limit = machine.environment.get("ASCEND_RT_VISIBLE_DEVICES")
    if devices and limit is not None and not limit.strip():
        yield Seen("npu-hidden", "ASCEND_RT_VISIBLE_DEVICES=''", says="No NPU devices are available")


def packages(machine: Machine) -> Iterable[Seen]:
    """torch_npu against torch, and everything against the table of what goes together."""
    build, npu = torch_build(machine), machine.package("torch-npu")
    if build is None:
        return
    release = "{}.{}".format(*release_of(build.version))
    if npu is None:
        if _devices(machine):
            yield Seen("npu-package-missing", f"/dev/davinci*, torch {build.version}", cure=_install(release))
        return
    driving = {name: machine.package(name) for name in ("mx-driving", "mx-driving-a5")}
    if all(driving.values()):
        yield Seen("npu-driving-twice", ", ".join(f"{one.name} {one.version}" for one in driving.values() if one))
        return
    if release_of(npu.version) != release_of(build.version):
        what = f"torch_npu {npu.version} is not for torch {build.version}"
        yield Seen("npu-other-torch", f"torch-npu {npu.version}", what, _install(release))
        return
    found = environment(
        ROWS,
        {
            "torch": build.version,
            "torch-npu": npu.version,
            **{name: one.version if one else None for name, one in driving.items()},
            "CANN": _cann(machine),
            "Python": machine.python,
        },
    )
    if found is not None and found.row is None:
        yield Seen("npu-versions", found.said.partition(": ")[0], cure=_as_command(found.cure))


def cann(machine: Machine) -> Iterable[Seen]:
    """CANN's libraries, where torch_npu wants them, and its settings."""
    if machine.package("torch-npu") is None:
        return
    folders = [*machine.folders("LD_LIBRARY_PATH"), *_SYSTEM]
    missing = [name for name in CANN_LIBRARIES if not any(machine.exists(f"{one}/{name}") for one in folders)]
    if missing:
        script = next((f"{one}/set_env.sh" for one in _TOOLKITS if machine.exists(f"{one}/set_env.sh")), "")
        where = f"{', '.join(missing)} in no folder of LD_LIBRARY_PATH"
        says = f"ImportError: {missing[0]}: cannot open shared object file: No such file or directory"
        without = "Without CANN, for other devices: export TORCH_DEVICE_BACKEND_AUTOLOAD=0"
        install = "Install the CANN toolkit, then source /usr/local/Ascend/ascend-toolkit/set_env.sh"
        yield Seen("npu-cann-missing", where, cure=f"{f'source {script}' if script else install}\n{without}", says=says)
    if machine.environment.get("INF_NAN_MODE_ENABLE") == "0":
        yield Seen("npu-saturates", "INF_NAN_MODE_ENABLE=0")


def driving(machine: Machine) -> Iterable[Seen]:
    """The driver's library by which mx_driving tells the chip."""
    installed = machine.package("mx-driving") or machine.package("mx-driving-a5")
    if installed and _devices(machine):
        folders = machine.folders("LD_LIBRARY_PATH")
        if not any(machine.exists(f"{one}/{DRIVER}") for one in folders):
            yield Seen("npu-driver-unseen", f"{DRIVER} in no folder of LD_LIBRARY_PATH")


CHECKUP = Checkup(
    name="Ascend",
    table=Path(__file__).with_name("messages.yaml"),
    checks=(driver, packages, cann, driving),
    facts=facts,
)


def _devices(machine: Machine) -> list[str]:
    return [f"/dev/{name}" for name in machine.names("/dev") if re.fullmatch(r"davinci\d+", name)]


def _cann(machine: Machine) -> str | None:
    return cann_release(machine.environment.get("ASCEND_HOME_PATH"), machine.text, machine.architecture)


def _install(release: str) -> str:
    return f"pip install 'torch-npu=={release}.*'"


def _as_command(cure: str) -> str:
    """As commands, one a line, what the table says: ``install 'torch==2.8.*' in place of 2.9; pip uninstall ...``."""
    steps = []
    for step in cure.split("; "):
        wanted, _, instead = step.partition(" in place of ")
        if wanted.startswith("install 'Python"):
            steps.append(f"{wanted.split(chr(39))[1]} (not {instead}): python3.11 -m venv .venv, and install into it")
        else:
            steps.append(f"pip {wanted}{f'  # in place of {instead}' if instead else ''}".replace("pip pip", "pip"))
    return "\n".join(steps)
