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
INDEX_OF = "2026-11-29T00:00:00Z"
"""Uploads of later days are not seen: no release breaks a test here. ``UV_EXCLUDE_NEWER`` asks for another day."""
_UNHEARD = ("error sending request", "network was disabled", "dns error", "timed out", "Connect")

_unreached: list[str] = []  # the index is not asked again once it did not answer


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
    if _unreached:
        pytest.skip(_unreached[0])
    try:
        done = subprocess.run(
            command, cwd=ROOT, input=also, env=_environment(), capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        _unreached.append("the package index gave no answer in 120 s")
        pytest.skip(_unreached[0])
    said = " ".join(done.stderr.split())
    if done.returncode and any(words in said for words in _UNHEARD):
        _unreached.append(f"the package index was not reached: {said[-160:]}")
        pytest.skip(_unreached[0])
    if done.returncode:
        raise RefusedError(said)
    return dict(re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.M))


def _environment() -> dict[str, str]:
    """Without what binds the tests' own packages, which a user does not have, and with the index as it was that day."""
    bound = ("PIP_CONSTRAINT", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT")
    kept = {name: value for name, value in os.environ.items() if name not in bound}
    # uv would fetch the Python that it resolves for, which resolving does not need, and wait long where it cannot.
    return {"UV_EXCLUDE_NEWER": INDEX_OF, "UV_PYTHON_DOWNLOADS": "never", **kept}
