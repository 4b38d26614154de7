"""Installed distributions: their versions, and conflicts that pip does not see."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distributions, version


def version_of(name: str) -> str | None:
    """Version of the distribution ``name``; None if it is not installed. Nothing is imported."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def installed(*prefixes: str) -> dict[str, str]:
    """Installed distributions whose name begins with one of ``prefixes``, with their versions."""
    found: dict[str, str] = {}
    for distribution in distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name.startswith(prefixes):
            found[name] = distribution.version
    return dict(sorted(found.items()))


def shadowed() -> list[str]:
    """Distributions that install into the same folder and overwrite each other while ``pip check`` stays clean."""
    groups = {
        "cupy": [name for name in installed("cupy") if name == "cupy" or name.startswith(("cupy-cuda", "cupy-rocm"))],
        "triton": [
            name for name in installed("triton", "pytorch-triton") if name in _TRITONS or name.startswith("pytorch")
        ],
        "cv2": list(installed("opencv-python", "opencv-contrib")),
    }
    return [
        f"{' and '.join(names)} overwrite each other's {folder}/ folder. "
        f"pip uninstall {' '.join(names)}, then install the one that you need"
        for folder, names in groups.items()
        if len(names) > 1
    ]


_TRITONS = {"triton", "triton-ascend", "triton-rocm", "triton-windows"}
