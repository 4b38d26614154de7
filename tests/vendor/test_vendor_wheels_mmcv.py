"""mmcv-lite's own layers beside those that ``portbev.compat.mmcv`` puts in their place: downloaded once, 3 MB, by pip.

Its three modules of operators are imported over a stand-in for the compiled library, which it has not.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from vendor_read import folder

PINNED = ("mmcv-lite==2.2.0", "mmengine==0.10.7", "addict==2.4.0", "yapf==0.43.0", "termcolor==3.3.0")
COMPARED = Path(__file__).with_name("vendor_mmcv.py")


@cache
def installed() -> Path | str:
    """The folder with mmcv-lite and what it imports, or why there is none."""
    place = folder()
    assert place is not None
    found = place / "mmcv-lite-2.2.0"
    if not (found / "done").exists():
        # Without what they depend on: torch is here, and opencv-python would lie over opencv-python-headless.
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-compile",
            "--only-binary=:all:",
        ]
        command += [f"--target={found}", "--upgrade", *PINNED]
        environment = {**os.environ, "PIP_CONSTRAINT": os.devnull}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode:
            unheard = any(words in done.stderr for words in ("from versions: none", "onnection", "timed out"))
            assert unheard, done.stderr
            return f"mmcv-lite could not be downloaded: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
        (found / "done").touch()
    return found


def digest(place: Path) -> str:
    """Of all files of mmcv and mmengine."""
    files = sorted(path for name in ("mmcv", "mmengine") for path in (place / name).rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """What the comparison found, in a process that has mmcv-lite."""
    place = installed()
    if isinstance(place, str):
        pytest.skip(place)
    before = digest(place)
    paths = [str(place), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(COMPARED)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["edited"] = digest(place) != before
    return found


def test_layers_have_mmcvs_keys_versions_attributes_and_initial_weights(said: dict[str, Any]) -> None:
    assert len(said["layers"]) == 7
    for name, layer in said["layers"].items():
        assert layer == {"keys": True, "weights": True, "metadata": True, "attributes": []}, name
    assert said["arguments"] == dict.fromkeys(said["arguments"], True) and len(said["arguments"]) == 6


def test_results_and_gradients_are_those_of_mmcvs_python_form(said: dict[str, Any]) -> None:
    assert len(said["differences"]) == 6
    for name, difference in said["differences"].items():  # float64, relative to the largest value
        assert difference < 1e-12, name


def test_with_mmcv_lite_the_registry_the_rest_and_the_files_are_its_own(said: dict[str, Any]) -> None:
    assert said["registered"] == ["portbev.compat.mmcv.deform_conv", "portbev.compat.mmcv.modulated_deform_conv"]
    assert said["attention"] == "portbev.compat.mmcv.multi_scale_deform_attn"
    assert said["python alone"] == "mmcv.ops.point_sample" and said["ConvModule"] == "mmcv.cnn.bricks.conv_module"
    assert said["old keys"] == []
    assert "mmcv.ops.nms_rotated is not covered" in said["refused"]
    assert not said["edited"]
