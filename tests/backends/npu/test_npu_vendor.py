"""Importing mx_driving: a package that changes the process as the wheels do, imported plainly and by portbev."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from changing_wheels import DRIVING, PATCHER, TRANSFER

STATE = """
import json, logging, os, sys, warnings
import torch, torch.distributed
def state():
    root = logging.getLogger()
    return [torch.cuda.is_available(), id(torch.distributed.init_process_group), id(torch.Tensor.cuda),
            id(torch.jit.script), len(warnings.filters), str(warnings.filters), len(root.handlers), root.level,
            dict(os.environ), [type(finder).__module__ for finder in sys.meta_path],
            "torch_npu.contrib.transfer_to_npu" in sys.modules]
before = state()
"""
GUARDED = (
    STATE
    + """
from portbev_npu import vendor
error = None
try:
    vendor.guarded_import("mx_driving")
except ImportError as raised:
    error = str(raised)
after = state()
"""
)
REPORT = """
print(json.dumps([[a == b for a, b in zip(before, after)], {extra}]))
"""


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with torch_npu and mx_driving; a file ``end`` appended to the latter by the tests."""
    contrib = tmp_path / "torch_npu" / "contrib"
    contrib.mkdir(parents=True)
    (tmp_path / "torch_npu" / "__init__.py").write_text("")
    (contrib / "__init__.py").write_text("")
    (contrib / "transfer_to_npu.py").write_text(TRANSFER)
    (tmp_path / "mx_driving").mkdir()
    (tmp_path / "mx_driving" / "patcher.py").write_text(PATCHER)
    (tmp_path / "mx_driving" / "__init__.py").write_text(DRIVING.format(end=""))
    return tmp_path


def ran(folder: Path, script: str, extra: str = "None", **variables: str) -> Any:
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, **variables, "PYTHONPATH": path}
    command = [sys.executable, "-c", script + REPORT.format(extra=extra)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_package_of_these_tests_changes_a_process_that_imports_it_plainly(wheels: Path) -> None:
    same, _ = ran(wheels, STATE + "import mx_driving\nafter = state()\n")
    assert not any(same)


@pytest.mark.parametrize("path", ["", "/opt/mine"])
def test_importing_it_leaves_the_process_as_it_was(wheels: Path, path: str) -> None:
    same, loaded = ran(wheels, GUARDED, "'mx_driving' in sys.modules", ASCEND_CUSTOM_OPP_PATH=path)
    assert loaded
    assert all(same), same


def test_an_import_that_fails_leaves_the_process_as_it_was(wheels: Path) -> None:
    (wheels / "mx_driving" / "__init__.py").write_text(DRIVING.format(end="raise RuntimeError('no device')"))
    same, error = ran(wheels, GUARDED, "error")
    assert error == "RuntimeError: no device"
    assert all(same), same


def test_the_path_of_its_kernels_is_set_when_one_of_them_is_called(wheels: Path) -> None:
    script = GUARDED + "vendor.driving(); first = os.environ['ASCEND_CUSTOM_OPP_PATH']\n"
    script += "os.environ['ASCEND_CUSTOM_OPP_PATH'] = 'changed'; vendor.driving()\n"
    _, paths = ran(wheels, script, "[first, os.environ['ASCEND_CUSTOM_OPP_PATH']]", ASCEND_CUSTOM_OPP_PATH="/opt/mine")
    assert paths == ["KERNELS:/opt/mine", "changed"]


def test_whoever_wants_the_transfer_can_still_import_it_afterwards(wheels: Path) -> None:
    script = GUARDED + "from torch_npu.contrib import transfer_to_npu\n"
    _, available = ran(wheels, script, "torch.cuda.is_available()")
    assert available is True
