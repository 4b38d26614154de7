"""Installed Python distributions: their versions, and conflicts that pip does not report."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distributions, version


def version_of(name: str) -> str | None:
    """Version of the distribution ``name``, without importing it; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def installed(*prefixes: str) -> dict[str, str]:
    """Installed distributions whose name begins with one of ``prefixes``, with their versions."""
    versions: dict[str, str] = {}
    for distribution in distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name.startswith(prefixes):
            versions[name] = distribution.version
    return dict(sorted(versions.items()))


def overwriting(names: Iterable[str]) -> dict[str, list[str]]:
    """Which of these distributions overwrite each other's folder: folder -> their names."""
    every = sorted(names)
    groups = {
        "cupy": [name for name in every if name == "cupy" or name.startswith(("cupy-cuda", "cupy-rocm"))],
        "triton": [name for name in every if name in _TRITONS or name.startswith("pytorch-triton")],
        "cv2": [name for name in every if name.startswith(("opencv-python", "opencv-contrib"))],
    }
    return {folder: found for folder, found in groups.items() if len(found) > 1}


def shadowed() -> list[str]:
    """Messages about distributions that overwrite each other's folder, which ``pip check`` does not report."""
    found = overwriting(installed("cupy", "triton", "pytorch-triton", "opencv-"))
    return [
        f"{' and '.join(names)} overwrite each other's {folder}/ folder. "
        f"pip uninstall {' '.join(names)}, then install the one that you need"
        for folder, names in found.items()
    ]


_TRITONS = {"triton", "triton-ascend", "triton-rocm", "triton-windows"}
