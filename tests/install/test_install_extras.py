"""Each extra installs what it says on the Pythons and platforms where it can, and elsewhere is refused with reason."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from resolving import ARM, X86, RefusedError, resolve

from portbev import distributions

INNER = pytest.mark.slow  # between the oldest Python and the newest: tox -e install -- -n 8 asks for these too
PYTHONS = ("3.10", pytest.param("3.11", marks=INNER), pytest.param("3.12", marks=INNER), "3.13")
EVERYWHERE = [
    ("3.10", X86),
    ("3.13", ARM),
    *(pytest.param(python, platform, marks=INNER) for python in ("3.11", "3.12") for platform in (X86, ARM)),
    *(pytest.param(*pair, marks=INNER) for pair in (("3.10", ARM), ("3.13", X86))),
]
DRIVING = {"npu-driving": "mx-driving", "npu-driving-a5": "mx-driving-a5"}
CUPY = {"cuda12": "cupy-cuda12x", "cuda13": "cupy-cuda13x", "rocm5": "cupy-rocm-5-0", "rocm7": "cupy-rocm-7-0"}
OTHERS = (*CUPY.values(), *DRIVING.values(), "torch-npu", "triton-ascend", "mmcv", "mmdet3d")


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+", maxsplit=1)[0].split(".")[:2])


def brings(found: dict[str, str], *names: str) -> None:
    """Of all devices' packages, exactly these."""
    assert {name for name in OTHERS if name in found} == set(names)
    assert numbers(found["torch"]) >= (2, 8)


@pytest.mark.parametrize(("python", "platform"), EVERYWHERE)
def test_without_extras_no_devices_package_comes(python: str, platform: str) -> None:
    brings(resolve("", python, platform))


@pytest.mark.parametrize("platform", ["aarch64-apple-darwin", "x86_64-pc-windows-msvc"])
def test_the_core_installs_beside_linux_too(platform: str) -> None:
    found = resolve("", "3.11", platform)
    brings(found)
    assert "triton" not in found


@pytest.mark.parametrize(("python", "platform"), EVERYWHERE)
@pytest.mark.parametrize("extra", ["cuda12", "cuda13"])
def test_an_extra_for_cuda_brings_triton_and_one_cupy(extra: str, python: str, platform: str) -> None:
    found = resolve(extra, python, platform)
    brings(found, CUPY[extra])
    assert numbers(found["triton"]) >= (3, 2)
    assert numbers(found[CUPY[extra]]) >= (13, 3)


@pytest.mark.parametrize("python", PYTHONS)
def test_an_extra_for_rocm_7_brings_one_cupy_for_x86_64(python: str) -> None:
    brings(resolve("rocm7", python, X86), CUPY["rocm7"])


@pytest.mark.parametrize("python", [PYTHONS[0], PYTHONS[1], "3.12"])
def test_an_extra_for_rocm_5_brings_one_cupy_for_x86_64(python: str) -> None:
    brings(resolve("rocm5", python, X86), CUPY["rocm5"])


def test_rocm_5_is_refused_on_a_python_newer_than_its_last_cupy() -> None:
    with pytest.raises(RefusedError, match=r"cupy-rocm-5-0==13\.3\.0 has no wheels with a matching Python ABI tag"):
        resolve("rocm5", "3.13", X86)


@pytest.mark.parametrize("extra", ["rocm5", "rocm7"])
def test_an_extra_for_rocm_is_refused_on_aarch64(extra: str) -> None:
    with pytest.raises(RefusedError, match=f"{CUPY[extra]}.* ha(s|ve) no wheels with a matching platform tag"):
        resolve(extra, "3.11", ARM)


@pytest.mark.parametrize(("python", "platform"), EVERYWHERE)
def test_torch_npu_comes_with_the_torch_of_its_number(python: str, platform: str) -> None:
    found = resolve("npu", python, platform)
    brings(found, "torch-npu")
    assert numbers(found["torch-npu"]) == numbers(found["torch"])


def test_torch_npu_is_had_for_a_torch_that_is_installed_already() -> None:
    found = resolve("npu", "3.11", X86, also="torch-npu==2.13.*")
    assert numbers(found["torch"]) == (2, 13)


@pytest.mark.parametrize("platform", [X86, ARM])
@pytest.mark.parametrize("python", ["3.10", "3.11"])
@pytest.mark.parametrize("extra", DRIVING)
def test_mx_driving_comes_with_torch_2_8_and_on_aarch64_with_torch_npu(extra: str, python: str, platform: str) -> None:
    found = resolve(extra, python, platform)
    brings(found, DRIVING[extra], *(["torch-npu"] if platform == ARM else []))
    assert numbers(found["torch"]) == (2, 8)
    assert numbers(found.get("torch-npu", "2.8")) == (2, 8)
    assert numbers(found[DRIVING[extra]]) >= (26, 1)


@pytest.mark.parametrize("python", ["3.12", pytest.param("3.13", marks=INNER)])
@pytest.mark.parametrize("extra", DRIVING)
def test_mx_driving_is_refused_where_it_has_no_wheel(extra: str, python: str) -> None:
    abi = f"cp{python.replace('.', '')}"
    with pytest.raises(RefusedError, match=rf"{DRIVING[extra]}.* no wheels with a matching Python ABI tag .*`{abi}`"):
        resolve(extra, python, ARM)


@pytest.mark.parametrize(
    ("extras", "reason"),
    [
        ("npu-driving,npu", r"torch==2\.8\.0\+cpu"),  # x86_64: torch-npu asks for a torch that the index does not have
        ("nuscenes,rocm7", r"numpy"),  # the devkit takes NumPy 1 alone, CuPy 14 NumPy 2 alone
    ],
)
def test_extras_that_exclude_each_other_are_refused(extras: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        resolve(extras, "3.11", X86)


@pytest.mark.parametrize("others", ["cuda13", "rocm7"])
def test_two_cupys_are_let_through_by_installers_and_named_by_the_doctor(
    others: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = resolve(f"cuda12,{others}", "3.11", X86)
    brings(found, CUPY["cuda12"], CUPY[others])
    installed = [SimpleNamespace(metadata={"Name": name}, version=version) for name, version in found.items()]
    monkeypatch.setattr(distributions, "distributions", lambda: installed)
    assert distributions.shadowed()[0].startswith(f"{CUPY['cuda12']} and {CUPY[others]} overwrite each other's cupy/")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    "extra",
    [
        *(pytest.param(name, marks=INNER) for name in ("tensorboard", "serve", "submit", "archives", "remote", "onnx")),
        "dev",
    ],
)
def test_an_extra_that_is_no_devices_installs_on_every_python(extra: str, python: str) -> None:
    brings(resolve(extra, python, X86))


@pytest.mark.parametrize("python", [PYTHONS[0], PYTHONS[1], "3.12"])
def test_the_devkit_brings_numpy_1(python: str) -> None:
    found = resolve("nuscenes", python, X86)
    brings(found)
    assert numbers(found["numpy"]) == (1, 26)


def test_the_devkit_is_refused_on_a_python_that_numpy_1_has_no_wheel_for() -> None:
    with pytest.raises(RefusedError, match=r"nuscenes-devkit>=1\.2\.0 depends on numpy>=1\.22\.0,<2\.0\.0"):
        resolve("nuscenes", "3.13", X86)
