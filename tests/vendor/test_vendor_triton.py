"""Kernels in Triton use what every Triton has that they may meet, Ascend's among them: against ``facts/``."""

from __future__ import annotations

from pathlib import Path

import pytest
from vendor_facts import recorded
from vendor_triton import BACKEND, triton_uses
from vendor_uses import misused
from vendor_wheels import TRITON, TRITON_ASCEND, Wheel

PINNED = TRITON[-1]  # compile.py is run by tox -e triton alone
WHEELS = pytest.mark.parametrize("wheel", [*TRITON, *TRITON_ASCEND], ids=str)
KERNEL = """
import triton
import triton.language as tl

@triton.jit
def kernel(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(x + at, mask=at < n, other=0.0)
    tl.store(out + at, tl.math.exp(values), mask=at < n)
"""


@WHEELS
def test_every_use_of_triton_fits_the_wheel(wheel: Wheel) -> None:
    found = triton_uses()
    assert {"triton.jit", "triton.language.load", "triton.language.store"} <= {one.name for one in found}
    if wheel != PINNED:
        found = [one for one in found if f"{BACKEND.name}/compile.py:" not in one.where]
    assert misused(found, recorded(wheel)["names"]) == []


@WHEELS
@pytest.mark.parametrize(
    ("text", "instead", "says"),
    [
        ("tl.arange(0, BLOCK)", "tl.arange_of(0, BLOCK)", "there is no triton.language.arange_of"),
        ("tl.math.exp(", "tl.math.expm2(", "there is no triton.language.math.expm2"),
        ("other=0.0", "fill=0.0", "triton.language.load has no parameter fill"),
        ("tl.program_id(0)", "tl.program_id()", "triton.language.program_id needs axis"),
        ("triton.jit", "triton.compiled", "there is no triton.compiled"),
        ("import triton.language as tl", "from triton import language as tl, jitter as j\nj()", "no triton.jitter"),
    ],
)
def test_what_a_triton_lacks_is_noticed(tmp_path: Path, wheel: Wheel, text: str, instead: str, says: str) -> None:
    names = recorded(wheel)["names"]
    (tmp_path / "kernel.py").write_text(KERNEL)
    assert misused(triton_uses(tmp_path), names) == []
    assert text in KERNEL
    (tmp_path / "kernel.py").write_text(KERNEL.replace(text, instead))
    assert misused(triton_uses(tmp_path), names)
    assert all(line.endswith(says) for line in misused(triton_uses(tmp_path), names))


def test_ascends_triton_has_the_language_of_its_number() -> None:
    ascend, upstream = recorded(TRITON_ASCEND[0])["names"], recorded(TRITON[0])["names"]
    language = {name for name in upstream if name.startswith("triton.language")}
    assert len(language) > 140
    assert {name: ascend.get(name, "none") for name in language} == {name: upstream[name] for name in language}


def test_block_pointers_are_gone_from_the_newest_triton() -> None:
    old, new = (recorded(wheel)["names"]["triton.language.load"] for wheel in TRITON)
    assert "boundary_check=()" in old
    assert "boundary_check=()" not in new


def test_limits_that_ascends_triton_declares_are_those_that_the_documentation_gives() -> None:
    assert recorded(TRITON_ASCEND[0])["limits"] == {"programs in a grid": 65535, "elements of a tensor": 1048576}
