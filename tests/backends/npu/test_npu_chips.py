"""Which wheel of mx_driving has kernels for which chip: the other's is refused with the cure before it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from portbev_npu import chips
from portbev_npu.chips import DRIVER, chip_lacks, wheel_lacks
from portbev_npu.probe import _device

A2, A3, A5 = "Ascend910B2", "Ascend910_9362", "Ascend950PR_9599"
Install = Callable[..., None]
FOLDERS = {"mx-driving": "customize", "mx-driving-a5": "customize_arch35"}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Lays out an mx_driving that must not be imported, and the driver's library where it is asked for."""

    def lay_out(wheel: str, driver: bool = True) -> None:
        package = tmp_path / "site" / "mx_driving"
        (package / "packages" / "vendors" / FOLDERS[wheel]).mkdir(parents=True)
        (package / "__init__.py").write_text("raise SystemError('must not be imported')")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        (tmp_path / "driver").mkdir()
        if driver:
            (tmp_path / "driver" / DRIVER).touch()
        monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere: {tmp_path / 'driver'} :")

    return lay_out


@pytest.mark.parametrize(("wheel", "chip"), [("mx-driving", A2), ("mx-driving", A3), ("mx-driving-a5", A5)])
def test_a_chips_own_wheel_serves_it(install: Install, wheel: str, chip: str) -> None:
    install(wheel)
    assert chip_lacks("bev_pool_v3", chip) is None


@pytest.mark.parametrize(
    ("wheel", "chip", "wanted"),
    [("mx-driving", A5, "mx-driving-a5"), ("mx-driving-a5", A2, "mx-driving"), ("mx-driving-a5", A3, "mx-driving")],
)
def test_the_other_wheel_is_refused_with_the_cure(install: Install, wheel: str, chip: str, wanted: str) -> None:
    install(wheel)
    said = chip_lacks("bev_pool_v3", chip) or ""
    assert said.startswith(f"this mx_driving has no kernels for {chip} ")
    assert said.endswith(f": pip uninstall {wheel}, then pip install {wanted}")


def test_an_a5_that_would_be_taken_for_an_a2_is_refused(install: Install) -> None:
    install("mx-driving-a5", driver=False)
    assert (wheel_lacks(A5) or "").startswith(f"{DRIVER} is not in a folder of LD_LIBRARY_PATH")


def test_an_a2_does_not_need_the_drivers_library(install: Install) -> None:
    install("mx-driving", driver=False)
    assert wheel_lacks(A2) is None


def test_nothing_is_said_of_kernels_without_mx_driving() -> None:
    assert not chips.driving_installed()
    assert wheel_lacks(A5) is wheel_lacks(A2) is None


@pytest.mark.parametrize(
    ("wheel", "driver", "chip", "says"),
    [
        ("mx-driving", True, A2, f"1 x {A2}"),
        ("mx-driving", False, A2, "takes the chip for an Atlas A2"),
        ("mx-driving", True, A5, "pip install mx-driving-a5"),
        ("mx-driving-a5", False, A5, f"whose kernels {A5} does not run"),
    ],
)
def test_the_probe_says_what_mx_driving_will_make_of_the_chip(
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    wheel: str,
    driver: bool,
    chip: str,
    says: str,
) -> None:
    install(wheel, driver)
    answers = {"is_available": lambda: True, "device_count": lambda: 1, "get_device_name": lambda index: chip}
    monkeypatch.setattr(torch, "npu", SimpleNamespace(**answers), raising=False)
    stage = _device()
    assert stage.ok
    assert stage.detail.rstrip(")").endswith(says)
