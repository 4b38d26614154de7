"""Distributions that overwrite each other are seen, and those that do not are left in peace."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from portbev import distributions


@pytest.mark.parametrize(
    ("names", "conflicts"),
    [
        (["cupy-cuda12x", "cupy-cuda13x"], ["cupy-cuda12x and cupy-cuda13x overwrite each other's cupy/ folder"]),
        (["cupy-cuda12x", "cupy_rocm_5_0"], ["cupy-cuda12x and cupy-rocm-5-0 overwrite each other's cupy/ folder"]),
        (["triton", "triton-ascend"], ["triton and triton-ascend overwrite each other's triton/ folder"]),
        (["cupy-cuda12x", "cupy-xarray", "triton"], []),
        (["opencv-python-headless"], []),
        ([], []),
    ],
)
def test_conflicts_are_found_with_a_cure(
    monkeypatch: pytest.MonkeyPatch, names: list[str], conflicts: list[str]
) -> None:
    installed = [SimpleNamespace(metadata={"Name": name}, version="1.0") for name in names]
    monkeypatch.setattr(distributions, "distributions", lambda: installed)
    found = distributions.shadowed()
    assert [text.split(". ")[0] for text in found] == conflicts
    assert all("pip uninstall" in text for text in found)


def test_a_version_is_read_without_importing() -> None:
    assert distributions.version_of("pluggy")
    assert distributions.version_of("no-such-distribution") is None
