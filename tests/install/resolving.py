"""What ``pip install 'portbev[EXTRA]'`` would bring: uv resolves from metadata alone, for any Python and platform."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
X86, ARM = "x86_64-manylinux_2_28", "aarch64-manylinux_2_28"
_UNHEARD = ("error sending request", "network was disabled", "dns error", "timed out", "Connect")


class RefusedError(Exception):
    """There is no answer; the resolver's reason."""


def resolve(extras: str, python: str, platform: str, also: str = "") -> dict[str, str]:
    """Versions of all distributions by name. Wheels alone count: nothing is to be compiled.

    Args:
        extras: joined by commas; "" for none.
        python: ``3.11``.
        also: a further requirement, ``torch-npu==2.13.*``.

    Raises:
        RefusedError: the requirements exclude each other, or one has no wheel for this Python or platform.
    """
    command = [str(shutil.which("uv")), "pip", "compile", "pyproject.toml", "-", "--quiet", "--no-header"]
    command += ["--no-annotate", "--only-binary=:all:", f"--python-version={python}", f"--python-platform={platform}"]
    command += [f"--extra={one}" for one in extras.split(",") if one]
    try:
        done = subprocess.run(
            command, cwd=ROOT, input=also, env=_environment(), capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the package index gave no answer in 120 s")
    said = " ".join(done.stderr.split())
    if done.returncode and any(words in said for words in _UNHEARD):
        pytest.skip(f"the package index was not reached: {said[-160:]}")
    if done.returncode:
        raise RefusedError(said)
    return dict(re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.M))


def _environment() -> dict[str, str]:
    """Without what binds the tests' own packages: a user has no such constraints."""
    bound = ("PIP_CONSTRAINT", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT")
    return {name: value for name, value in os.environ.items() if name not in bound}
