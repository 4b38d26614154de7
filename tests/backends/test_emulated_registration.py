"""How a torch of any version learns of the emulated npu, and the line where it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from portbev.errors import BackendError
from portbev.host import cxx_compiler
from portbev_emulated import registration

compiles = pytest.mark.skipif(cxx_compiler() is None, reason="needs a C++ compiler")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A torch that takes no device from Python, and an empty cache."""
    monkeypatch.delattr(torch._C, "_acc", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def in_a_new_process(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@compiles
def test_a_torch_that_takes_no_device_from_python_trains_on_one_that_is_built() -> None:
    done = in_a_new_process(
        "import torch\n"
        "vars(torch._C).pop('_acc', None)\n"
        "from portbev.runtime import activate\n"
        "activate('npu', emulate=True)\n"
        "model = torch.nn.Linear(3, 1).to('npu')\n"
        "model(torch.ones(2, 3, device='npu')).sum().backward()\n"
        "print(model.weight.grad.device, model.weight.grad.tolist(), torch.accelerator.current_accelerator())\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "npu:0 [[2.0, 2.0, 2.0]] npu\n"


@compiles
def test_the_library_is_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registration.answerer() is not None
    (built,) = (cache / "compiled").iterdir()
    monkeypatch.setenv("CXX", "/nonexistent/compiler")
    assert registration.answerer()._name == str(built)


def test_no_compiler_is_one_line_with_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError) as caught:
        registration.answerer()
    said = str(caught.value)
    assert f"torch {torch.__version__} takes no device from Python" in said
    assert "there is no C++ compiler (what CXX names, g++, clang++, c++). Install g++" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo 'In file included from x'; echo 'a.h:3:1: fatal error: no such file'", "a.h:3:1: fatal error"),
        ("true", "exit status 1"),
    ],
)
def test_what_the_compiler_says_is_told_and_nothing_is_kept(
    body: str, reason: str, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text(f"#!/bin/sh\n({body}) >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(BackendError) as caught:
        registration.answerer()
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((cache / "compiled").iterdir()) == []


def test_a_library_that_does_not_load_is_told_and_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho no library > "$2"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(BackendError) as caught:
        registration.answerer()
    assert f"{compiler} does not compile device.cpp: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((cache / "compiled").iterdir()) == []


@compiles
def test_a_broken_library_is_built_anew(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registration.answerer()
    (built,) = (cache / "compiled").iterdir()
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "other"))
    broken = tmp_path / "other" / "compiled" / built.name
    broken.parent.mkdir(parents=True)
    broken.write_bytes(built.read_bytes()[:1000])
    assert registration.answerer() is not None
    assert len(broken.read_bytes()) == len(built.read_bytes())


def test_a_torch_without_something_that_the_emulated_npu_uses_is_one_line() -> None:
    done = in_a_new_process(
        "from portbev_emulated import install, refused\n"
        "from portbev.errors import BackendError\n"
        "refused.refused = lambda: {'an_operator_of_the_past': 'torch.past'}\n"
        "try:\n"
        "    install.install()\n"
        "except BackendError as error:\n"
        "    print(error, install.installed())\n"
    )
    assert done.returncode == 0, done.stderr
    assert "are not those that the emulated npu needs" in done.stdout
    assert "an_operator_of_the_past" in done.stdout
    assert done.stdout.rstrip().endswith("False")
    assert len(done.stdout.splitlines()) == 1
