"""Which versions of torch, torch_npu, mx_driving and Python go together on Ascend.

Read in the published wheels: torch_npu of every release asks for torch of the same one; mx_driving's wheels for Python
3.10 and 3.11 ask for torch below 2.9 (their C++ symbols are those of 2.8). No device was at hand.
``portbev doctor`` reads these rows without torch, which may be what cannot be imported.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable

from portbev.combinations import ABSENT, Combination
from portbev.distributions import version_of

_READ = "published together and read by `tox -e vendor`, not run on a device"
_PUBLISHED = "published together, not run on a device"
_DRIVING = ">=26.1.0.post2,<=26.2.0.post2"

ROWS = (
    Combination(
        {
            "torch": "==2.8.*",
            "torch-npu": "==2.8.*",
            "mx-driving": _DRIVING,
            "mx-driving-a5": ABSENT,
            "CANN": "",
            "Python": ">=3.10,<3.12",
        },
        _READ,
        extra="npu-driving",
    ),
    Combination(
        {
            "torch": "==2.8.*",
            "torch-npu": "==2.8.*",
            "mx-driving": ABSENT,
            "mx-driving-a5": "==26.2.0.post2",
            "CANN": "",
            "Python": ">=3.10,<3.12",
        },
        _READ,
        extra="npu-driving-a5",
    ),
    Combination(
        {
            "torch": "==2.8.*",
            "torch-npu": "==2.8.*",
            "mx-driving": ABSENT,
            "mx-driving-a5": ABSENT,
            "CANN": "",
            "Python": ">=3.10,<3.12",
        },
        _PUBLISHED,
        extra="npu",
    ),
    Combination(
        {
            "torch": ">=2.9,<2.15",
            "torch-npu": ">=2.9,<2.15",
            "mx-driving": ABSENT,
            "mx-driving-a5": ABSENT,
            "CANN": "",
            "Python": ">=3.10,<3.14",
        },
        _PUBLISHED,
        alike=("torch", "torch-npu"),
        extra="npu",
    ),
)

EMULATED = (
    Combination({"torch": "==2.13.*", "Python": "==3.11.*"}, "tested every commit on the emulated device"),
    Combination({"torch": ">=2.8", "Python": ">=3.10"}, "not tested every commit (docs/compatibility.md)"),
)
"""The emulated npu has stand-ins for the vendor's packages: torch and Python are what counts."""


def installed() -> dict[str, str | None]:
    """Versions of what has to go together; empty without torch_npu."""
    torch_npu = version_of("torch-npu")
    if torch_npu is None:
        return {}
    import torch

    return {
        "torch": torch.__version__,
        "torch-npu": torch_npu,
        "mx-driving": version_of("mx-driving"),
        "mx-driving-a5": version_of("mx-driving-a5"),
        "CANN": cann_version(),
        "Python": platform.python_version(),
    }


def cann_version() -> str | None:
    """What the toolkit of this shell says; None without a toolkit."""
    return cann_release(os.environ.get("ASCEND_HOME_PATH"), _text, platform.machine())


def cann_release(home: str | None, read: Callable[[str], str | None], architecture: str) -> str | None:
    """What the ``version.cfg`` or ``ascend_toolkit_install.info`` below ``home`` says; None without it.

    Args:
        home: ``$ASCEND_HOME_PATH``.
        read: gives the text of a file; None: it cannot be read.
        architecture: of the machine; the files may be in a folder for it.
    """
    if not home:
        return None
    for name in ("version.cfg", "ascend_toolkit_install.info"):
        for folder in (home, f"{home}/{architecture}-linux"):
            lines = [line.strip() for line in (read(f"{folder}/{name}") or "").splitlines()]
            said = [line for line in lines if "version" in line.lower()]
            if said:
                return said[0].split("=", 1)[-1].strip("[] ")
    return None


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None
