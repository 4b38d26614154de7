"""Calibration tables: what is read, what is refused, and that no file can make the reader execute anything."""

from __future__ import annotations

import io
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portbev.errors import DataError
from portbev.signal import read_calibration
from portbev.signal.pickled import read_pickled_dict
from portbev_radial.recordings.description import RADIAL_RADAR

RADAR = RADIAL_RADAR
HEADER = io.BytesIO()
np.lib.format.write_array_header_1_0(HEADER, {"descr": "|O", "fortran_order": False, "shape": ()})


def table() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((5, 192, 7)) + 1j * rng.standard_normal((5, 192, 7))
    return {
        "Signal": signal.astype(np.complex64),
        "H": np.hamming(192)[None],
        "Azimuth_table": np.linspace(-75, 75, 5),
        "Elevation_table": np.arange(7.0) - 5,
    }


def save(path: Path, content: Any, protocol: int = 4) -> Path:
    """As ``np.save`` would with that pickle protocol."""
    boxed = np.empty((), object)
    boxed[()] = content
    path.write_bytes(HEADER.getvalue() + pickle.dumps(boxed, protocol=protocol))
    return path


def test_what_numpy_saves_is_read(tmp_path: Path) -> None:
    path = tmp_path / "CalibrationTable.npy"
    np.save(path, table(), allow_pickle=True)  # type: ignore[arg-type]
    read, expected = read_calibration(path, RADAR), table()
    assert np.array_equal(read.signal, expected["Signal"]) and read.signal.dtype == np.complex64
    assert np.array_equal(read.window, expected["H"][0])
    assert np.array_equal(read.azimuth, expected["Azimuth_table"])
    assert np.array_equal(read.elevation, expected["Elevation_table"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_and_layout_is_read(tmp_path: Path, protocol: int) -> None:
    content = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big endian": np.arange(3, dtype=">i4"),
        "text": np.array(["a", "bc"]),
        "scalar": np.float32(1.5),
        "none": np.empty((0, 3)),
        "objects": np.array([1, "two", None], dtype=object),
        "nested": {"list": [np.ones(2), (1, 2.5)], "bytes": b"\x00\xff"},
    }
    read = read_pickled_dict(save(tmp_path / "t.npy", content, protocol))
    for name in ("fortran", "big endian", "text", "none", "objects"):
        assert read[name].dtype == content[name].dtype and read[name].shape == content[name].shape
        assert (read[name] == content[name]).all()
    assert read["scalar"] == 1.5 and read["nested"]["bytes"] == b"\x00\xff"
    assert read["nested"]["list"][1] == (1, 2.5) and (read["nested"]["list"][0] == 1).all()
    read["fortran"][0, 0] = 7  # an array of one's own


class Runs:
    """An object whose pickle calls a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> Any:
        return self.parts


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: Runs(os.system, f"touch {path}"), "system"),
        (lambda path: Runs(eval, f"open({str(path)!r}, 'w')"), "eval"),
        (lambda path: Runs(np.fromfile, str(path)), "numpy.fromfile"),
        (lambda path: Runs(np.load, str(path)), "numpy.load"),
        (lambda path: Runs(getattr, "a", "upper"), "getattr"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("protocol", [2, 5])
def test_code_is_refused_by_name_and_not_run(
    tmp_path: Path, make: Any, named: str, inside: bool, protocol: int
) -> None:
    touched = tmp_path / "touched"
    payload = make(touched)
    path = save(tmp_path / "t.npy", {**table(), "H": payload} if inside else payload, protocol)
    with pytest.raises(DataError, match=rf"{path}: not read, because it could execute code: .*{named}"):
        read_calibration(path, RADAR)
    assert not touched.exists()


def test_arrays_cannot_be_made_of_addresses(tmp_path: Path) -> None:
    addresses = np.arange(4, dtype=np.int64).tobytes()
    dtype = np.dtype(object)
    for payload in (
        Runs(np.ndarray, (4,), dtype, addresses),
        Runs(np.frombuffer, addresses, dtype),
        Runs(np.dtype, "i4,O"),
    ):
        with pytest.raises(DataError):
            read_pickled_dict(save(tmp_path / "t.npy", {"a": payload}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Signal": np.ones((5, 180, 7), np.complex64)}, r"'Signal' has shape \(5, 180, 7\), expected .*elements 192"),
        ({"Signal": np.ones((192, 5, 7), np.complex64)}, r"'Signal' has shape \(192, 5, 7\)"),
        ({"Signal": np.ones((5, 192), np.complex64)}, r"'Signal' has shape \(5, 192\)"),
        ({"Signal": None}, "'Signal' is missing"),
        ({"H": np.ones(192)}, r"'H' has shape \(192,\), expected \(1, 192\)"),
        ({"H": np.ones((1, 100))}, r"'H' has shape \(1, 100\)"),
        ({"H": "hamming"}, "'H' is no array of numbers"),
        ({"H": np.full((1, 192), np.nan)}, "'H' holds values that are not finite"),
        ({"Azimuth_table": np.array(["a"])}, "'Azimuth_table' is no array of numbers"),
        ({"Azimuth_table": np.ones(4)}, "expected .azimuths 4"),
        (
            {"Elevation_table": np.arange(3.0), "Signal": np.ones((5, 192, 3), np.complex64)},
            "5 azimuths and 3 elevations, expected at least 1 and 6",
        ),
    ],
)
def test_a_table_that_does_not_fit_says_so_in_one_line(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = save(tmp_path / "t.npy", {**table(), **change})
    with pytest.raises(DataError, match=says) as caught:
        read_calibration(path, RADAR)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], "text", np.ones(3), 5])
def test_another_content_is_named(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DataError, match=r"holds a .*, expected a dict"):
        read_pickled_dict(save(tmp_path / "t.npy", content))


def test_a_plain_array_is_no_table(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.ones(3))
    with pytest.raises(DataError, match="holds an array of float64, expected a pickled dict"):
        read_pickled_dict(tmp_path / "t.npy")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_pickled_dict(tmp_path / "absent.npy")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_one_error_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = save(tmp_path_factory.mktemp("damaged") / "t.npy", {"a": np.arange(5), "b": [1, "x", 2.5]})
    good = path.read_bytes()
    cut = data.draw(st.integers(0, len(good)))
    at, byte = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 255))
    path.write_bytes((good[:at] + bytes([byte]) + good[at + 1 :])[:cut])
    with suppress(DataError):  # anything else would end a run with a traceback
        assert isinstance(read_pickled_dict(path), dict)
