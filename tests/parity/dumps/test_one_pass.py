"""The compiled pass gives torch's hash and figures; where it cannot be had, one line says why and torch computes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portbev.compiled import NotCompiledError, load
from portbev.host import cxx_compiler
from portbev.parity.dumps import one_pass
from portbev.parity.dumps.content import BYTES
from portbev.parity.dumps.means import Means
from portbev.parity.dumps.one_pass import ATTEMPTS, OnePass, seek_one_pass
from portbev.parity.dumps.signs import COLUMNS, SMALL

needs_compiler = pytest.mark.skipif(cxx_compiler() is None, reason="no C++ compiler")
SOURCE = Path(one_pass.__file__).with_name("one_pass.cpp")
UNIT = BYTES // 4
FLOATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder in which nothing was compiled."""
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    seek_one_pass.cache_clear()
    yield tmp_path / "cache"
    seek_one_pass.cache_clear()


def assert_alike(flat: Tensor) -> None:
    compiled, torchs = (Means(compiled=way).measure(flat, figures=True) for way in (True, False))
    assert compiled.sums.tolist() == torchs.sums.tolist()
    assert compiled.figures is not None and torchs.figures is not None
    told, right = (torch.as_tensor(figures) for figures in (compiled.figures, torchs.figures))
    assert told[:2].tolist() == right[:2].tolist()  # NaNs and infinities
    assert told[4:6].tolist() == right[4:6].tolist()  # extremes
    scale = math.sqrt(float(right[3]))
    assert math.isfinite(scale)
    torch.testing.assert_close(told, right, rtol=1e-12, atol=1e-10 * max(scale, 1e-30))


@needs_compiler
def test_the_pass_is_compiled_and_used_here() -> None:
    assert seek_one_pass().reason == ""
    assert seek_one_pass().one_pass is not None


@needs_compiler
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_pass_gives_what_torch_gives(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(FLOATS))
    size = torch.empty(0, dtype=dtype).element_size()
    edges = [SMALL + 1, UNIT // size, BYTES // size, BYTES // size + UNIT // size, 2 * BYTES // size]
    count = max(SMALL + 1, data.draw(st.sampled_from(edges)) + data.draw(st.sampled_from([-COLUMNS, -1, 0, 1, 2, 594])))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    offset = data.draw(st.integers(0, 3))
    flat = (torch.randn(count + offset, generator=generator) * data.draw(st.sampled_from([1e-4, 1.0, 300.0])) + 1)[
        offset:
    ]
    flat = flat.to(dtype)
    for value in data.draw(st.lists(st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 6e-8]), max_size=4)):
        flat[data.draw(st.integers(0, count - 1))] = value
    assert_alike(flat)


@needs_compiler
@pytest.mark.parametrize("dtype", FLOATS)
def test_tensors_without_a_finite_element_and_with_the_smallest_ones(dtype: torch.dtype) -> None:
    smallest = torch.finfo(dtype).smallest_normal
    for value in (
        math.nan,
        math.inf,
        smallest,
        -smallest / 4,
        torch.finfo(dtype).max / 2 if dtype != torch.float64 else 1.0,
    ):
        assert_alike(torch.full((UNIT + 5,), value, dtype=dtype))


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.int32, torch.cfloat, torch.float8_e5m2])
def test_dtypes_whose_figures_are_not_compiled_are_hashed_alike(dtype: torch.dtype) -> None:
    flat = (torch.randn(300_001) * 5).to(dtype)
    compiled, torchs = (Means(compiled=way).measure(flat, figures=False) for way in (True, False))
    assert compiled.sums.tolist() == torchs.sums.tolist()
    assert compiled.figures is None


@needs_compiler
def test_the_number_of_threads_changes_no_bit() -> None:
    flat, found, before = torch.randn(2_000_003), [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made = Means().measure(flat, figures=True)
            assert made.figures is not None
            found.append((made.sums.tolist(), made.figures.tolist()))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@needs_compiler
def test_it_is_compiled_once_and_again_if_the_library_is_broken(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(SOURCE, ATTEMPTS).portbev_one_pass
    (library,) = (empty_cache / "compiled").iterdir()
    whole = library.read_bytes()
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "other"))  # what is loaded from one path stays loaded
    broken = tmp_path / "other" / "compiled" / library.name
    broken.parent.mkdir(parents=True)
    broken.write_bytes(whole[:1000])
    with monkeypatch.context() as patched:
        patched.setenv("CXX", "/bin/false")
        with pytest.raises(NotCompiledError, match=r"/bin/false does not compile one_pass\.cpp: exit status 1"):
            load(SOURCE, ATTEMPTS)
        patched.setenv("PORTBEV_CACHE", str(empty_cache))
        assert load(SOURCE, ATTEMPTS).portbev_one_pass
    assert load(SOURCE, ATTEMPTS).portbev_one_pass
    assert len(broken.read_bytes()) == len(whole)


@needs_compiler
def test_a_cache_that_cannot_be_written_is_no_obstacle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "file" / "cache"))
    assert load(SOURCE, ATTEMPTS).portbev_one_pass


@needs_compiler
def test_a_pass_that_computes_otherwise_is_refused(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for right, wrong in (("AHEAD = 5", "AHEAD = 6"), ("columns.sum[i] += wide", "columns.sum[i] += 2 * wide")):
        text = SOURCE.read_text()
        assert right in text
        other = tmp_path / "one_pass.cpp"
        other.write_text(text.replace(right, wrong))
        monkeypatch.setattr(one_pass, "_SOURCE", other)
        with pytest.raises(NotCompiledError, match="computes otherwise than torch does"):
            OnePass()


def test_without_a_compiler_torch_computes_and_one_line_says_why(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    sought = seek_one_pass()
    assert sought.one_pass is None
    assert sought.reason.startswith("there is no C++ compiler (what CXX names, g++, clang++, c++)")
    assert "apt-get install g++" in sought.reason
    flat = torch.randn(100_000)
    assert (
        Means().measure(flat, figures=True).sums.tolist()
        == Means(compiled=False).measure(flat, figures=True).sums.tolist()
    )
