"""``python -m portbev.compat.mmcv``: a script trains unchanged, on the CPU and on the emulated npu."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from portbev.compat.mmcv.__main__ import main

SCRIPT = Path(__file__).with_name("small_detector.py")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "portbev.compat.mmcv", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_a_small_detector_trains_unchanged_on_the_emulated_npu_with_the_cpus_losses() -> None:
    found = {}
    for device, options in {"cpu": ["--standalone"], "npu": ["--standalone", "--emulate", "npu"]}.items():
        done = run(*options, "--report", SCRIPT, device, "--lr", "x")
        assert done.returncode == 0, done.stderr
        found[device] = json.loads(done.stdout)
        assert found[device]["device"].startswith(device)
        assert found[device]["arguments"] == [device, "--lr", "x"]  # what follows the script is the script's
        assert "no mmcv is used" in done.stderr
        assert "deform_conv2d: forward by " in done.stderr and "ms_deform_attn: forward by " in done.stderr
        if device == "npu":
            assert "deform_conv2d: forward by torch_npu 8 times, backward by torch_npu 8 times" in done.stderr
    cpu, npu = found["cpu"]["losses"], found["npu"]["losses"]
    assert npu == pytest.approx(cpu, rel=1e-5)
    assert cpu[-1] < cpu[0]


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    said = capsys.readouterr().out
    assert stop.value.code == 0 and "example:" in said and "tools/train.py" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.py", "--lr", "1"], "nowhere.py: no such script"),
        ([], "a script is needed"),
        (["--emulate", "tpu", str(SCRIPT)], "unknown backend 'tpu'"),
        (["--mmcv-version", "two", str(SCRIPT)], "'two' is no version"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and error.startswith("portbev.compat.mmcv: ")


def test_a_module_runs_and_its_exit_status_is_the_commands(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nfrom mmcv.ops import RoIAlign\nsys.exit(len(sys.argv))\n")
    command = [
        sys.executable,
        "-m",
        "portbev.compat.mmcv",
        "--standalone",
        "--uncovered",
        "call",
        "-m",
        "mine",
        "a",
        "-b",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
