"""The npu backend where there is no npu: the probe's stages, and imports that leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from portbev_npu import vendor
from portbev_npu.probe import probe

pytestmark = pytest.mark.skipif(vendor.is_installed("torch_npu"), reason="torch_npu is installed here")

LEAKING = """
import os
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
raise {error}
"""


def package(folder: Path, text: str) -> str:
    """A folder that holds a package torch_npu with ``text`` as its __init__."""
    (folder / "torch_npu").mkdir(parents=True)
    (folder / "torch_npu" / "__init__.py").write_text(text)
    return str(folder)


def test_without_the_package_the_first_stage_says_so_with_a_cure() -> None:
    first = probe().stages[0]
    assert (first.name, first.ok, first.detail) == ("torch_npu installed", False, "no package torch_npu")
    assert "pip install" in first.cure


def test_later_stages_are_not_tried_without_the_earlier_ones() -> None:
    assert [stage.name for stage in probe().stages] == ["torch_npu installed", "CANN libraries"]


def test_a_package_without_cann_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(package(tmp_path, "raise SystemError('must not be imported')"))
    stages = probe().stages
    assert [stage.ok for stage in stages] == [True, False]
    assert stages[1].detail.startswith("libascendcl.so: cannot open shared object file")
    assert stages[1].detail.endswith(
        "nor can libhccl.so, libacl_op_compiler.so, libge_runner.so, libgraph.so be loaded"
    )
    assert "set_env.sh" in stages[1].cure


def test_one_missing_library_of_cann_is_named_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        if name == "libge_runner.so":
            raise OSError("libfmk_parser.so: cannot open shared object file: No such file or directory")

    monkeypatch.syspath_prepend(package(tmp_path, "raise SystemError('must not be imported')"))
    monkeypatch.setattr(vendor, "load_library", load)
    found = probe().stages[1].detail
    assert found == "libge_runner.so: libfmk_parser.so: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize("error", ["ImportError('libhccl.so')", "RuntimeError('version mismatch')", "OSError('x')"])
@pytest.mark.parametrize("before", [None, "1"])
def test_a_failed_import_keeps_the_error_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, before: str | None
) -> None:
    monkeypatch.syspath_prepend(package(tmp_path, LEAKING.format(error=error)))
    monkeypatch.setattr(vendor, "load_library", lambda name: None)
    if before is None:
        monkeypatch.delenv(vendor.AUTOLOAD, raising=False)
    else:
        monkeypatch.setenv(vendor.AUTOLOAD, before)
    stages = probe().stages
    assert [stage.ok for stage in stages] == [True, True, False]
    assert error.split("'")[1] in stages[2].detail
    assert os.environ.get(vendor.AUTOLOAD) == before
    assert "torch_npu" not in sys.modules


def test_an_imported_package_is_not_yet_a_device(tmp_path: Path) -> None:
    folder = package(tmp_path, "__version__ = '2.13.0'")
    script = (
        "import json\nfrom portbev_npu import vendor\nfrom portbev_npu.probe import probe\n"
        "vendor.load_library = lambda name: None\n"
        "print(json.dumps([(s.name, s.ok, s.detail, s.cure) for s in probe().stages]))"
    )
    environment = {**os.environ, "PYTHONPATH": folder, "ASCEND_RT_VISIBLE_DEVICES": "7"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    *earlier, last = json.loads(done.stdout)
    assert all(ok for _, ok, _, _ in earlier)
    name, ok, detail, cure = last
    assert (name, ok) == ("device", False)
    assert "no device answers" in detail
    assert "npu-smi" in cure
    assert "ASCEND_RT_VISIBLE_DEVICES=7" in cure
