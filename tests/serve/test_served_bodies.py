"""Whatever bytes a request is made of: it is read, or refused in a line; nothing else is raised."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("uvicorn", reason="pip install 'portbev[serve]'")

from standin import FIELDS, good, npy, png

from portbev.serve.body import take_apart, understood
from portbev.serve.content import Parts, array, picture
from portbev.serve.inputs import read_inputs
from portbev.serve.refusal import RefusalError
from portbev.serve.schema import AskingInStream

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["inputs", "token", "min_score", "session", "continues", "images", "x"])


def one_line(error: RefusalError) -> None:
    assert 400 <= error.status < 500 and "\n" not in str(error) and len(str(error)) < 600


@settings(max_examples=100, deadline=None)
@given(NAMES, VALUES)
def test_any_json_is_understood_or_refused(name: str, value: Any) -> None:
    request = {**good(), name: value}
    try:
        asked = understood(AskingInStream, json.dumps(request).encode())
        read_inputs(asked.inputs, FIELDS, Parts())
    except RefusalError as error:
        one_line(error)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([field.name for field in FIELDS]), VALUES)
def test_any_value_of_an_input_is_read_or_refused(name: str, value: Any) -> None:
    try:
        arrays = read_inputs({**good()["inputs"], name: value}, FIELDS, Parts({"a": b"b"}))
    except RefusalError as error:
        one_line(error)
    else:
        assert all(np.isfinite(one).all() for one in arrays.values())


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """The bytes cut, or with some of them changed."""

    def change(places: list[tuple[int, int]], cut: int) -> bytes:
        content = bytearray(whole)
        for place, value in places:
            content[place % len(content)] = value
        return bytes(content[: len(content) - cut % len(content)])

    places = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4)
    return st.builds(change, places, st.sampled_from([0, 0, 1, 7, 40, 200]))


@settings(max_examples=100, deadline=None)
@given(damaged(png()) | damaged(png(form="JPEG")) | damaged(png(40, 40, form="JPEG")) | st.binary(max_size=60))
def test_any_bytes_are_a_picture_or_refused(content: bytes) -> None:
    with contextlib.suppress(RefusalError):
        assert picture(content, "here").shape[2] == 3


@settings(max_examples=150, deadline=None)
@given(damaged(npy(np.ones((3, 5), np.int16))) | damaged(npy(np.ones(2, complex))) | st.binary(max_size=80))
def test_any_bytes_are_an_array_or_refused(content: bytes) -> None:
    with contextlib.suppress(RefusalError):
        values = array(content, "here")
        assert not values.dtype.hasobject and values.nbytes <= len(content)


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="request"\r\nContent-Type: application/json\r\n\r\n{"inputs": {}}\r\n'
    b'--b\r\nContent-Disposition: form-data; name="a"; filename="a.jpg"\r\n\r\n\xff\xd8\xff\r\n--b--\r\n'
)


@settings(max_examples=150, deadline=None)
@given(damaged(FORM) | st.binary(max_size=60))
def test_any_bytes_are_a_form_or_refused(content: bytes) -> None:
    with contextlib.suppress(RefusalError):
        text, parts = take_apart("multipart/form-data; boundary=b", content)
        assert len(text) + sum(map(len, parts.values())) <= len(content)


def test_a_form_is_read_to_the_byte() -> None:
    text, parts = take_apart('multipart/form-data; boundary="b"', FORM)
    assert text == b'{"inputs": {}}' and parts == {"a": b"\xff\xd8\xff"}


def test_an_array_of_fortrans_order_keeps_its_values() -> None:
    values = np.arange(15, dtype=np.int16).reshape(3, 5)
    stream = io.BytesIO()
    np.save(stream, np.asfortranarray(values))
    np.testing.assert_array_equal(array(stream.getvalue(), "here"), values)
