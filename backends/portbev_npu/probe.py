"""Looking for an Ascend npu in stages.

A stage that needs an earlier one is not tried without it: importing torch_npu without CANN only breaks things.
"""

from __future__ import annotations

import os
import sys

import torch

from portbev.distributions import version_of
from portbev.probing import Availability, MissingError, Stage, staged
from portbev_npu import chips, vendor


def probe() -> Availability:
    """Package, CANN libraries, guarded import, device; each with its error and its cure. Never raises."""
    stages = [_package(), _libraries()]
    if all(stage.ok for stage in stages):
        stages.append(_import())
    if all(stage.ok for stage in stages):
        stages.append(_device())
    return Availability(tuple(stages))


def _package() -> Stage:
    stages: list[Stage] = []
    release = ".".join(torch.__version__.split("+")[0].split(".")[:2])
    cure = f"Install it for this torch: pip install 'torch-npu=={release}.*' (or portbev[npu])"
    with staged(stages, "torch_npu installed", cure) as said:
        if not vendor.is_installed("torch_npu"):
            raise MissingError("no package torch_npu")
        said.append(version_of("torch-npu") or str(getattr(sys.modules.get("torch_npu"), "__version__", "")))
    return stages[0]


def _libraries() -> Stage:
    stages: list[Stage] = []
    cure = "Install the CANN toolkit and run: source /usr/local/Ascend/ascend-toolkit/set_env.sh"
    with staged(stages, "CANN libraries", cure) as said:
        if "torch_npu" in sys.modules:
            said.append("in use by torch_npu")
        else:
            missing = {name: words for name in vendor.CANN_LIBRARIES if (words := _unloadable(name))}
            if missing:
                first, *others = missing
                more = f"; nor can {', '.join(others)} be loaded" if others else ""
                raise MissingError(f"{missing[first]}{more}")
            said.append(", ".join(vendor.CANN_LIBRARIES))
    return stages[0]


def _unloadable(name: str) -> str | None:
    """The loader's words, which name the library that is missing: this one or one that it needs."""
    try:
        vendor.load_library(name)
    except OSError as error:
        return str(error) if name in str(error) else f"{name}: {error}"
    return None


def _import() -> Stage:
    stages: list[Stage] = []
    cure = "Match the versions of torch, torch_npu and CANN (the release notes of torch_npu have the table)"
    with staged(stages, "import torch_npu", cure) as said:
        said.append(str(getattr(vendor.guarded_import("torch_npu"), "__version__", "")))
    return stages[0]


def _device() -> Stage:
    stages: list[Stage] = []
    limit = os.environ.get("ASCEND_RT_VISIBLE_DEVICES")
    cure = "Check the driver with npu-smi info, and that this user may open /dev/davinci*"
    if limit is not None:
        cure += f"; ASCEND_RT_VISIBLE_DEVICES={limit} limits what is visible"
    with staged(stages, "device", cure) as said:
        module = getattr(torch, "npu", None)
        if module is None or not module.is_available():
            raise MissingError("torch.npu.is_available() is false: no device answers")
        count = int(module.device_count())
        if count < 1:
            raise MissingError("torch.npu.device_count() is 0")
        name = module.get_device_name(0)
        said.append(f"{count} x {name}")
        if chips.driving_installed() and (told := chips.wheel_lacks(name) or _unrecognised()):
            said.append(f"({told})")
    return stages[0]


def _unrecognised() -> str | None:
    return None if chips.driver_on_path() else chips.taken_for_a2()
