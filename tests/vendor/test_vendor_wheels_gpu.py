"""As ``test_vendor_wheels`` for CuPy and Triton, and what a new release might change: ``tox -e vendor-gpu``, 1.1 GB."""

from __future__ import annotations

import pytest
from vendor_cupy import cupy_facts
from vendor_facts import differences, recorded
from vendor_python import MissingFunctionError
from vendor_read import wheel_of
from vendor_triton import triton_facts
from vendor_wheels import CUPY, GPU, TRITON, Wheel

RUNTIME, DLPACK, STREAM = "cupy_backends/cuda/api/runtime.so", "cupy/_core/dlpack.so", "cupy/cuda/stream.so"
FFT = "cupy/fft/_fft.py"


@pytest.mark.parametrize("wheel", GPU, ids=str)
def test_a_wheel_has_what_was_read_in_it(wheel: Wheel) -> None:
    assert differences(recorded(wheel), wheel_of(wheel)[1]) == []


@pytest.mark.parametrize("wheel", CUPY, ids=str)
@pytest.mark.parametrize(
    ("file", "text", "instead", "says"),
    [
        (
            FFT,
            "def ifft(a, n=None, axis=-1, norm=None)",
            "def ifft(a, n=None, axis=-1, scale=None)",
            "/names/cupy.fft.ifft",
        ),
        (FFT, "def fft(a, n=None, axis=-1,", "def fft(a, axis=-1, n=None,", "/names/cupy.fft.fft: in another order"),
        (
            STREAM,
            "ExternalStream.__init__(self, ptr, device",
            "ExternalStream.__init__(self, handle, device",
            "/names/cupy.cuda.Ext",
        ),
        (DLPACK, "from_dlpack(array", "from_dlpack(array, stream", "/names/cupy.from_dlpack"),
    ],
)
def test_a_change_of_cupy_is_reported(wheel: Wheel, file: str, text: str, instead: str, says: str) -> None:
    sources = wheel_of(wheel)[0]
    assert text in sources[file]
    found = differences(recorded(wheel), cupy_facts({**sources, file: sources[file].replace(text, instead)}))
    assert len(found) == 1
    assert found[0].startswith(says)


@pytest.mark.parametrize("wheel", CUPY, ids=str)
@pytest.mark.parametrize(
    ("file", "text", "instead", "gone"),
    [
        (RUNTIME, "getDeviceCount()", "deviceCount()", "cupy has no cuda.runtime.getDeviceCount"),
        (RUNTIME, "\nis_hip", "", "cupy has no cuda.runtime.is_hip"),
        ("cupy/__init__.py", "import from_dlpack", "import fromDlpack", "cupy has no from_dlpack"),
        ("cupy/fft/__init__.py", "import ifft ", "import inverse ", "cupy has no fft.ifft"),
    ],
)
def test_a_name_that_cupy_loses_is_reported(wheel: Wheel, file: str, text: str, instead: str, gone: str) -> None:
    sources = wheel_of(wheel)[0]
    assert text in sources[file]
    with pytest.raises(MissingFunctionError, match=gone):
        cupy_facts({**sources, file: sources[file].replace(text, instead)})


@pytest.mark.parametrize("wheel", TRITON, ids=str)
def test_a_name_that_triton_loses_is_reported(wheel: Wheel) -> None:
    sources, file = wheel_of(wheel)[0], "triton/language/__init__.py"
    changed = {**sources, file: sources[file].replace('    "interleave",\n', "")}
    found = differences(recorded(wheel), triton_facts(changed))
    assert found == ["/names/triton.language.interleave: was ['a', 'b'], is None"]
