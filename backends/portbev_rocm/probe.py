"""Looking for an AMD GPU in stages."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch

from portbev.probing import Availability, MissingError, Stage, staged

KFD = Path("/dev/kfd")
_LIMITS = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def probe() -> Availability:
    """Build of torch, kernel driver, device, kernels for it; each with its error and its cure. Never raises."""
    stages = [_build(), _driver()]
    if all(stage.ok for stage in stages):
        stages.append(_devices())
    if all(stage.ok for stage in stages):
        stages.append(_kernels())
    return Availability(tuple(stages))


def _build() -> Stage:
    stages: list[Stage] = []
    cure = "Install a ROCm build of torch (pytorch.org, Get Started, has the command)"
    with staged(stages, "torch built for ROCm", cure) as said:
        if torch.version.hip is None:
            kind = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without ROCm"
            raise MissingError(f"torch {torch.__version__} is built {kind}")
        said.append(f"torch {torch.__version__}, HIP {torch.version.hip}")
    return stages[0]


def _driver() -> Stage:
    stages: list[Stage] = []
    cure = (
        "Install the amdgpu driver; let this user into the groups render and video; "
        "in a container, start it with --device=/dev/kfd --device=/dev/dri"
    )
    with staged(stages, "amdgpu driver", cure) as said:
        if not KFD.exists():
            raise MissingError(f"there is no {KFD}")
        if not os.access(KFD, os.R_OK | os.W_OK):
            raise MissingError(f"this user may not open {KFD}")
        said.append(str(KFD))
    return stages[0]


def _devices() -> Stage:
    stages: list[Stage] = []
    cure = "Check rocminfo"
    limits = [f"{name}={os.environ[name]!r}" for name in _LIMITS if name in os.environ]
    if limits:
        cure += f"; {' and '.join(limits)} limits what is visible"
    with staged(stages, "device", cure) as said, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not torch.cuda.is_available():
            reasons = "; ".join(str(warning.message).strip() for warning in caught)
            raise MissingError(reasons or "torch.cuda.is_available() is false: HIP sees no GPU")
        said.append(f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}")
    return stages[0]


def _kernels() -> Stage:
    stages: list[Stage] = []
    cure = "Install a torch built for this GPU; for a close relative HSA_OVERRIDE_GFX_VERSION may serve"
    with staged(stages, "kernels for the device", cure) as said:
        built = torch.cuda.get_arch_list()
        found = {arch_of(index) for index in range(torch.cuda.device_count())}
        missing = sorted(found - set(built))
        if built and missing:
            raise MissingError(f"the GPU is {', '.join(missing)}; this torch has {', '.join(built)}")
        said.append(", ".join(sorted(found)))
    return stages[0]


def arch_of(index: int) -> str:
    """Architecture of GPU ``index`` without its feature flags: ``gfx942`` of ``gfx942:sramecc+:xnack-``."""
    return str(torch.cuda.get_device_properties(index).gcnArchName).split(":", 1)[0]
