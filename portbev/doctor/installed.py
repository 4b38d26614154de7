"""Installed Python distributions, read from their metadata; nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class Package:
    """A distribution: its name, its version, the folder that it is in, and what it asks of others."""

    name: str
    version: str
    folder: str
    asks: tuple[str, ...] = ()

    def requirements(self) -> list[Requirement]:
        """What it asks for on this Python, without its extras; lines that nobody can read are left out."""
        found = []
        for line in self.asks:
            try:
                need = Requirement(line)
            except InvalidRequirement:
                continue
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                found.append(need)
        return found


def packages(folders: Mapping[str, str]) -> dict[str, list[Package]]:
    """Distributions by canonical name, those of a name in the order in which Python looks.

    Args:
        folders: folder as it is shown -> where it really is.
    """
    found: dict[str, list[Package]] = {}
    for folder, place in folders.items():
        for distribution in distributions(path=[place]):
            one = _package(distribution, folder)
            if one is not None:
                found.setdefault(one.name, []).append(one)
    return found


def _package(distribution: Distribution, folder: str) -> Package | None:
    metadata = distribution.metadata
    name, version = metadata["Name"], metadata["Version"]
    if not name or not version:  # what an interrupted pip leaves behind
        return None
    return Package(canonicalize_name(name), version, folder, tuple(metadata.get_all("Requires-Dist") or ()))
