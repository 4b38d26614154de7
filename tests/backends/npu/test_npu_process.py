"""Packages that change the process as Ascend's do: import, probing, activation and training leave it as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from changing_wheels import DRIVING, ran, write_wheels

from portbev_npu import vendor

pytestmark = [
    pytest.mark.skipif(vendor.is_installed("torch_npu"), reason="torch_npu is installed here"),
    pytest.mark.skipif(sys.platform != "linux", reason="CANN's libraries are stood in for as Linux loads them"),
]

PROBING = """
report = {}
import portbev, portbev.runtime
report["import"] = changed()
from portbev.cli import main
main(["backends"])
report["probing"] = changed()
main(["backends", "--backend", "npu", "--json"])
report["npu found"] = "torch_npu" in sys.modules
for number, setting in enumerate(("preferred", "off", "preferred")):
    portbev.activate("npu", deterministic=setting)
    report[f"activation {number}"] = changed()
report["driving imported"] = "mx_driving" in sys.modules
main(["train", "bevdepth/no_such", "--backend", "npu"])
report["training that does not start"] = changed()
main(["train", "bevdepth/tiny_test", "--backend", "cpu", "--set", "model.family=nobody"])
report["training on another device that does not start"] = changed()
"""

TRAINING = """
import cv2  # sets LD_LIBRARY_PATH for itself
import portbev, torch_npu_folder
import torch._dynamo  # sympy adds a filter of warnings for itself
portbev.activate("npu", emulate=True)
sys.modules["stand_in"] = sys.modules.pop("mx_driving")
del sys.modules["mx_driving._C"]
sys.modules["torch_npu"].__path__ = torch_npu_folder.PATH
before = state()
report = {}
portbev.activate("npu")
report["second activation"] = changed()
report["package"] = sys.modules["mx_driving"].__file__
from portbev.cli import main
out, steps = torch_npu_folder.OUT, ["--set", "train.max_steps=1", "--set", "compute.deterministic=preferred"]
report["status"] = main(["train", "bevdepth/tiny_test", "--backend", "npu", "--emulate", *steps, "--out", out])
report["training"] = changed()
report["variables"] = {name for name in os.environ if os.environ[name] != before["environment"].get(name)}
report["variables"] = {name: os.environ[name] for name in report["variables"]}
portbev.activate("cpu")
report["another device"] = changed()
from portbev.runs import load_run
report["served"] = list(load_run(out).record.kernels["voxel_pool_lift"].backward)
"""


def test_the_packages_of_these_tests_change_a_process_that_imports_them_plainly(tmp_path: Path) -> None:
    found = ran(write_wheels(tmp_path / "w"), "import mx_driving\nreport = [changed(), sorted(before)]")
    untouched = {"showwarning"}
    assert set(found[0]) == set(found[1]) - untouched


def test_import_probing_by_the_command_and_activations_leave_the_process_as_it_was(tmp_path: Path) -> None:
    found = ran(write_wheels(tmp_path / "w"), PROBING, ASCEND_CUSTOM_OPP_PATH="/opt/mine")
    assert found.pop("npu found") and found.pop("driving imported")
    assert not any(found.values()), found
    assert len(found) == 7


def test_training_with_its_kernels_changes_the_path_of_its_kernels_alone(tmp_path: Path) -> None:
    folder = write_wheels(tmp_path / "w")
    ends = "from stand_in import *\nfrom stand_in import _C"
    (folder / "mx_driving" / "__init__.py").write_text(DRIVING.format(end=ends))
    package = (folder / "torch_npu").rename(folder / "patching_torch_npu")
    (folder / "torch_npu_folder.py").write_text(f"PATH = [{str(package)!r}]\nOUT = {str(tmp_path / 'run')!r}\n")
    found = ran(folder, TRAINING)
    assert found["package"] == str(folder / "mx_driving" / "__init__.py")
    assert found["second activation"] == []
    assert (found["status"], found["served"]) == (0, ["mx_driving"])
    assert found["training"] == found["another device"] == ["environment"]
    assert found["variables"] == {"ASCEND_CUSTOM_OPP_PATH": "KERNELS"}
