"""Looking for an NVIDIA GPU in stages."""

from __future__ import annotations

import os
import warnings

import torch

from portbev.probing import Availability, MissingError, Stage, staged
from portbev_cuda.archs import serves
from portbev_cuda.driver import Driver, Gpu


def probe() -> Availability:
    """Build of torch, driver, device, kernels for it; each with its error and its cure. Never raises."""
    stages = [_build()]
    driver = _driver(stages)
    gpus = _devices(stages, driver) if driver else []
    if all(stage.ok for stage in stages):
        stages.append(_runtime())
    if all(stage.ok for stage in stages):
        stages.append(_kernels(gpus))
    return Availability(tuple(stages))


def _build() -> Stage:
    stages: list[Stage] = []
    cure = "Install a CUDA build of torch (pytorch.org, Get Started, has the command for each system)"
    with staged(stages, "torch built for CUDA", cure) as said:
        if torch.version.hip is not None:
            raise MissingError(f"torch {torch.__version__} is built for ROCm {torch.version.hip}: use the backend rocm")
        if torch.version.cuda is None:
            raise MissingError(f"torch {torch.__version__} is built without CUDA")
        said.append(f"torch {torch.__version__}, CUDA {torch.version.cuda}")
    return stages[0]


def _driver(stages: list[Stage]) -> Driver | None:
    driver = None
    cure = "Install the NVIDIA driver; in a container, start it with the GPU passed through (--gpus all)"
    with staged(stages, "driver", cure) as said:
        driver = Driver()
        said.append(f"supports CUDA {driver.version}")
    return driver


def _devices(stages: list[Stage], driver: Driver) -> list[Gpu]:
    gpus: list[Gpu] = []
    cure = "Check nvidia-smi"
    limit = os.environ.get("CUDA_VISIBLE_DEVICES")
    if limit is not None:
        cure += f"; CUDA_VISIBLE_DEVICES={limit!r} limits what is visible"
    with staged(stages, "device", cure) as said:
        gpus = driver.gpus()
        if not gpus:
            raise MissingError("the driver sees no GPU")
        said.append(f"{len(gpus)} x {gpus[0].name}")
    return gpus


def _runtime() -> Stage:
    stages: list[Stage] = []
    cure = f"Update the driver, or install a torch built for an older CUDA than {torch.version.cuda}"
    with staged(stages, "CUDA runtime", cure) as said, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # torch says in a warning why the runtime did not start
        if not torch.cuda.is_available():
            reasons = "; ".join(str(warning.message).strip() for warning in caught)
            raise MissingError(reasons or "torch.cuda.is_available() is false")
        said.append(f"torch sees {torch.cuda.device_count()}")
    return stages[0]


def _kernels(gpus: list[Gpu]) -> Stage:
    stages: list[Stage] = []
    with staged(stages, "kernels for the device", "Install a torch built for this GPU's architecture") as said:
        built = torch.cuda.get_arch_list()
        for gpu in gpus:
            if not any(serves(arch, gpu.capability) for arch in built):
                major, minor = gpu.capability
                raise MissingError(f"{gpu.name} is sm_{major}{minor}; this torch has {', '.join(built)}")
        said.append(", ".join(sorted({"sm_{}{}".format(*gpu.capability) for gpu in gpus})))
    return stages[0]
