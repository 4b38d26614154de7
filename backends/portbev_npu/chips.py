"""Which of mx_driving's operators a chip has.

``hasattr(mx_driving, name)`` is true on every chip: what runs is said by the wheel's ``aic-<soc>-ops-info.json``. There
are two wheels of one module: mx-driving has the kernels of Atlas A2 and A3 (and 310P), mx-driving-a5 those of A5.
Either installs anywhere, and on the other's chip it names a folder of kernels that it does not have.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import torch

from portbev_npu.vendor import DRIVER

_INFERENCE = frozenset({"multi_scale_deformable_attn", "bev_pool_v3", "bev_pool_v3_backward"})
"""What the wheel has for the 310P of everything that portbev asks for."""

_CHIPS: tuple[tuple[str, frozenset[str] | None], ...] = (  # the first pattern found in the name decides; None: all
    (r"Ascend310P", _INFERENCE),
    (r"Ascend910B\d|Ascend910_9[35]|Ascend950", None),  # A2, A3, A5
    (r"Ascend\d", frozenset()),
)
_A5 = re.compile(r"Ascend910_95|Ascend950")
_KERNELS = {False: ("customize", "mx-driving"), True: ("customize_arch35", "mx-driving-a5")}


def chip_name() -> str:
    """The first device's name as torch_npu says it, or "" where none answers."""
    try:
        return str(torch.npu.get_device_name(0))  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError, AssertionError):
        return ""


def chip_lacks(operator: str, chip: str | None = None) -> str | None:
    """None if ``chip`` (the device's, if None) has mx_driving's ``operator``, else the reason. An unknown name is no
    reason."""
    name = chip_name() if chip is None else chip
    for pattern, has in _CHIPS:
        if re.search(pattern, name):
            if has is None or operator in has:
                return wheel_lacks(name)
            return f"mx_driving has no {operator} for {name}"
    return None


def wheel_lacks(chip: str) -> str | None:
    """None if the installed mx_driving brings kernels for ``chip`` and will find them, else the reason with its cure.

    None as well where mx_driving is not a folder on disk (a stand-in): nothing is known of its kernels.
    """
    vendors = _vendors()
    if vendors is None:
        return None
    a5 = _A5.search(chip) is not None
    folder, wheel = _KERNELS[a5]
    if not (vendors / folder).is_dir():
        other = _KERNELS[not a5][1]
        return (
            f"this mx_driving has no kernels for {chip} (no packages/vendors/{folder}): "
            f"pip uninstall {other}, then pip install {wheel}"
        )
    if a5 and not driver_on_path():
        return f"{taken_for_a2()}, whose kernels {chip} does not run"
    return None


def taken_for_a2() -> str:
    """What mx_driving makes of a driver's library that it does not find, with the cure."""
    return (
        f"{DRIVER} is not in a folder of LD_LIBRARY_PATH (add the driver's, lib64/driver), "
        "so mx_driving takes the chip for an Atlas A2"
    )


def driver_on_path() -> bool:
    """Whether mx_driving finds the driver's library by which it tells an A5; it looks in ``LD_LIBRARY_PATH`` alone."""
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return any(os.path.isfile(os.path.join(one.strip(), DRIVER)) for one in folders if one.strip())


def driving_installed() -> bool:
    """Whether mx_driving is a package on disk; nothing of it is imported."""
    return _vendors() is not None


def _vendors() -> Path | None:
    """The folder that mx_driving keeps its kernels in; the package is not imported."""
    try:
        spec = importlib.util.find_spec("mx_driving")
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0], "packages", "vendors") if places else None
