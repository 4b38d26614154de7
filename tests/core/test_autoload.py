"""A vendor's package that torch would import with itself, and that cannot be imported, stops no command."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

from portbev.autoload import VARIABLE, no_autoload

FAILS = "raise RuntimeError('libhccl.so: cannot open shared object file')\n"
COMMANDS = {  # with the least that makes each import torch, and its exit status
    "backends": (["backends"], 0),
    "train": (["train", "no-such-configuration"], 2),
    "eval": (["eval", "no-such-run"], 2),
    "viz": (["viz", "no-such-run"], 2),
    "data": (["data", "check", "no-such-data"], 2),
    "parity": (["parity", "report", "no-such-run"], 2),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a distribution torch-npu as it is without CANN, and without the variable of these tests."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "torch_npu").mkdir()
    (folder / "torch_npu" / "__init__.py").write_text(FAILS)
    about = folder / "torch_npu-2.13.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torch_npu\nVersion: 2.13.0\n")
    (about / "entry_points.txt").write_text("[torch.backends]\ntorch_npu = torch_npu:_autoload\n")
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    return {**environment, "PYTHONPATH": path}


def python(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_torch_by_itself_cannot_be_imported_there(broken: dict[str, str]) -> None:
    done = python(broken, "-c", "import torch")
    assert done.returncode == 1
    assert "Failed to load the backend extension: torch_npu" in done.stderr


@pytest.mark.parametrize(("arguments", "status"), COMMANDS.values(), ids=COMMANDS)
def test_every_command_works_there(broken: dict[str, str], arguments: list[str], status: int) -> None:
    done = python(broken, "-m", "portbev", *arguments)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    if arguments == ["backends"]:
        assert "libascendcl.so" in done.stdout and "set_env.sh" in done.stdout  # the npu's reason and its cure


def test_a_process_that_starts_with_portbev_has_its_device_and_its_environment_kept(broken: dict[str, str]) -> None:
    code = "import os, portbev; portbev.activate('cpu'); print(os.environ.get('TORCH_DEVICE_BACKEND_AUTOLOAD'))"
    done = python(broken, "-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, "None"), done.stderr


@pytest.mark.parametrize("before", [None, "1"])
def test_the_variable_is_restored_after_an_error_too(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    if before is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, before)
    with contextlib.suppress(ValueError), no_autoload():
        assert os.environ[VARIABLE] == "0"
        raise ValueError("inside")
    assert os.environ.get(VARIABLE) == before
