"""Bodies that cannot be used: each gets a 4xx with one line, and the server answers the next request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="pip install 'portbev[serve]'")

from standin import CAMERAS, Server, StandIn, changed, good, npy, png, text

JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=b"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(StandIn(), max_body=100_000) as running:
        yield running


@pytest.fixture(scope="module")
def in_stream() -> Iterator[Server]:
    with Server(StandIn(temporal=True)) as running:
        yield running


def put(*path: Any, value: Any) -> bytes:
    """A good request with another value at ``path``."""

    def change(request: dict[str, Any]) -> None:
        at: Any = request
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return changed(change)


def without(name: str) -> bytes:
    return changed(lambda request: request["inputs"].pop(name))


def image(value: Any) -> bytes:
    return put("inputs", "images", value=[value] * CAMERAS)


def radar(values: bytes) -> bytes:
    return put("inputs", "radar", value=text(values))


def parts(*named: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    form = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + content + b"\r\n"
        for name, content in named
    )
    return form + end


REQUEST = json.dumps(good()).encode()
PICKLED = npy(np.array([{"a": 1}], object), allow_pickle=True)
HUGE_HEADER = npy(np.zeros((3, 5), np.int16)).replace(b"(3, 5)", b"(3000000000, 5)").replace(b" " * 9 + b"\n", b"\n")

BROKEN: dict[str, tuple[str, bytes, int, str]] = {
    # what: content type, body, status, a word of the line
    "nothing": (JSON, b"", 400, "no JSON"),
    "no JSON": (JSON, b"hello", 400, "no JSON"),
    "half of it": (JSON, REQUEST[: len(REQUEST) // 2], 400, "no JSON"),
    "not UTF-8": (JSON, REQUEST.replace(b'"inputs"', b'"\xff\xfe"'), 400, "no JSON"),
    "two of them": (JSON, REQUEST + REQUEST, 400, "no JSON"),
    "a list": (JSON, b"[1, 2]", 422, "body"),
    "a number": (JSON, b"1", 422, "body"),
    "null": (JSON, b"null", 422, "body"),
    "deep": (JSON, b'{"inputs":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "no JSON"),
    "many numbers": (JSON, b'{"inputs":{"radar":[' + b",".join([b"0"] * 45_000) + b"]}}", 422, "missing"),
    "an empty object": (JSON, b"{}", 422, "inputs: is missing"),
    "no inputs": (JSON, b'{"inputs": {}}', 422, "images: is missing"),
    "inputs that are a list": (JSON, put("inputs", value=[]), 422, "inputs"),
    "an unknown key": (JSON, put("input", value=1), 422, "unknown key. Did you mean 'inputs'"),
    "an unknown input": (JSON, put("inputs", "image", value=1), 422, "Did you mean 'images'"),
    "an input with a long name": (JSON, put("inputs", "x" * 5000, value=1), 422, "unknown input"),
    "no pictures": (JSON, without("images"), 422, "inputs.images: is missing"),
    "no intrinsics": (JSON, without("intrinsics"), 422, "inputs.intrinsics: is missing"),
    "pictures that are null": (JSON, put("inputs", "images", value=None), 422, "inputs.images: is missing"),
    "one picture too few": (JSON, put("inputs", "images", value=[text(png())]), 422, "takes 2"),
    "pictures that are one text": (JSON, put("inputs", "images", value=text(png())), 422, "list of 2"),
    "pictures that are numbers": (JSON, image(7), 422, "no file"),
    "pictures that are an object": (JSON, image({"path": "/etc/passwd"}), 422, "no file"),
    "pictures by their address": (JSON, image("http://localhost/a.png"), 422, "base64"),
    "pictures as data URLs": (JSON, image("data:image/png;base64," + text(png())), 422, "base64"),
    "a part without a multipart body": (JSON, image({"part": "front"}), 422, "no part 'front'"),
    "empty pictures": (JSON, image(""), 422, "empty"),
    "pictures that are none": (JSON, image(text(b"\x00" * 64)), 422, "JPEG or PNG"),
    "pictures in GIF": (JSON, image(text(png(form="GIF"))), 422, "JPEG or PNG"),
    "pictures in TIFF": (JSON, image(text(png(form="TIFF"))), 422, "JPEG or PNG"),
    "PNG cut short": (JSON, image(text(png(64, 64)[:-2000])), 422, "images[0]"),
    "JPEG cut short": (JSON, image(text(png(form="JPEG")[:330])), 422, "images[0]"),
    "pictures of another size": (JSON, image(text(png(5, 6))), 422, "6 x 5 pixels"),
    "pictures of 16 bits": (JSON, image(text(png(mode="I;16"))), 422, "8 bits"),
    "a picture that claims to be huge": (
        JSON,
        image(text(png(1, 1).replace(b"\0\0\0\1\0\0\0\1", b"\0\1\0\0\0\1\0\0"))),
        422,
        "images[0]",
    ),
    "intrinsics of another shape": (JSON, put("inputs", "intrinsics", value=np.eye(3).tolist()), 422, "2 x 3 x 3"),
    "lists of several lengths": (JSON, put("inputs", "intrinsics", 0, value=[[1], [1, 2]]), 422, "different lengths"),
    "numbers that are text": (JSON, put("inputs", "intrinsics", 0, 0, 0, value="1"), 422, "no number"),
    "numbers that are null": (JSON, put("inputs", "intrinsics", 0, 0, 0, value=None), 422, "no number"),
    "numbers that are true": (JSON, put("inputs", "intrinsics", value=[[[True] * 3] * 3] * 2), 422, "true and false"),
    "NaN": (JSON, put("inputs", "intrinsics", 1, 0, 2, value=float("nan")), 422, "[1][0][2]: is not finite"),
    "infinity": (JSON, put("inputs", "intrinsics", 0, 0, 0, value=float("inf")), 422, "not finite"),
    "a number beyond floats": (JSON, REQUEST.replace(b"1.0", b"1e999"), 422, "not finite"),
    "an integer beyond all": (JSON, put("inputs", "radar", value=[[10**40] * 5] * 3), 422, "inputs.radar"),
    "an integer beyond its type": (JSON, put("inputs", "radar", value=[[70_000] * 5] * 3), 422, "no int16"),
    "fractions for integers": (JSON, put("inputs", "radar", value=[[0.5] * 5] * 3), 422, "no int16"),
    "an empty list": (JSON, put("inputs", "radar", value=[]), 422, "3 x 5"),
    "an array that is pickled": (JSON, radar(PICKLED), 422, "pickled"),
    "a pickle": (JSON, radar(b"\x80\x04\x95\x0b\x00\x00\x00."), 422, "no .npy"),
    "an array of text": (JSON, radar(npy(np.array([["a"] * 5] * 3))), 422, "inputs.radar"),
    "an array of dates": (JSON, radar(npy(np.zeros((3, 5), "M8[s]"))), 422, "inputs.radar"),
    "an array of records": (JSON, radar(npy(np.zeros((3, 5), "i2,i2"))), 422, "inputs.radar"),
    "an array of fractions": (JSON, radar(npy(np.zeros((3, 5)))), 422, "no int16"),
    "an array of another shape": (JSON, radar(npy(np.zeros((5, 3), np.int16))), 422, "5 x 3"),
    "an array cut short": (JSON, radar(npy(np.zeros((3, 5), np.int16))[:-3]), 422, "27 bytes"),
    "an array and more": (JSON, radar(npy(np.zeros((3, 5), np.int16)) + b"more"), 422, "34 bytes"),
    "an array that claims to be huge": (JSON, radar(HUGE_HEADER), 422, "inputs.radar"),
    "an array's header alone": (JSON, radar(b"\x93NUMPY\x01\x00"), 422, "no .npy"),
    "an array with code for a header": (
        JSON,
        radar(b"\x93NUMPY\x01\x00\x20\x00__import__('os').getcwd()      \n"),
        422,
        "no .npy",
    ),
    "an .npz": (JSON, radar(b"PK\x03\x04" + b"\0" * 60), 422, "no .npy"),
    "a score that is text": (JSON, put("min_score", value="high"), 422, "min_score"),
    "a score above 1": (JSON, put("min_score", value=2), 422, "min_score"),
    "a score that is no number": (JSON, put("min_score", value=float("nan")), 422, "min_score"),
    "a token that is a number": (JSON, put("token", value=5), 422, "token"),
    "a token without end": (JSON, put("token", value="x" * 300), 422, "token"),
    "a session of a model without memory": (JSON, put("session", value="a"), 422, "session: unknown key"),
    "no type": ("", REQUEST, 415, "Content-Type: is missing"),
    "text": ("text/plain", REQUEST, 415, "text/plain"),
    "a form": ("application/x-www-form-urlencoded", b"a=b", 415, "Send application/json"),
    "msgpack": ("application/msgpack", b"\x81\xa6inputs\x80", 415, "Send application/json"),
    "multipart without a boundary": ("multipart/form-data", parts(("request", REQUEST)), 400, "no boundary"),
    "multipart with another boundary": (
        "multipart/form-data; boundary=c",
        parts(("request", REQUEST)),
        400,
        "multipart body",
    ),
    "multipart that is empty": (MULTIPART, b"", 400, "multipart body"),
    "multipart that is JSON": (MULTIPART, REQUEST, 400, "multipart body"),
    "multipart cut short": (MULTIPART, parts(("request", REQUEST), end=b""), 400, "cut short"),
    "multipart without the request": (MULTIPART, parts(("images", png())), 400, "part 'request'"),
    "multipart with the request twice": (
        MULTIPART,
        parts(("request", REQUEST), ("request", REQUEST)),
        400,
        "two parts",
    ),
    "multipart with a part too many": (MULTIPART, parts(("request", REQUEST), ("left", png())), 422, "part 'left'"),
    "multipart with many parts": (MULTIPART, parts(*((str(n), b"x") for n in range(300))), 400, "more than 200"),
    "multipart with a part without a name": (
        MULTIPART,
        b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n",
        400,
        "no name",
    ),
    "multipart whose request is no JSON": (MULTIPART, parts(("request", b"{")), 400, "no JSON"),
    "multipart whose picture is not there": (
        MULTIPART,
        parts(("request", image({"part": "front"}))),
        422,
        "Only a multipart",
    ),
    "too large": (JSON, b" " * 100_001, 413, "100,000"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_malformed_body_gets_one_line(server: Server, name: str) -> None:
    kind, body, status, word = BROKEN[name]
    got, said, _ = server.ask("POST", "/predict", body, {"Content-Type": kind} if kind else {})
    assert got == status, said
    assert word in said["error"]
    assert "\n" not in said["error"] and len(said["error"]) < 600
    assert said["status"] == status and said["what"] in said["error"]
    for secret in ("Traceback", "/portbev/", "site-packages"):
        assert secret not in said["error"]


def test_after_all_of_them_the_server_answers(server: Server) -> None:
    status, said, _ = server.predict(good())
    assert status == 200 and said["classes"] == ["truck"]


STREAMS: dict[str, tuple[bytes, int, str]] = {
    "a session that is a number": (put("session", value=5), 422, "session"),
    "a session with a slash": (put("session", value="a/b"), 422, "session"),
    "an empty session": (put("session", value=""), 422, "session"),
    "continues that is text": (put("continues", value="yes"), 422, "continues"),
    "a frame that continues nothing": (put("continues", value=True), 422, "without a session"),
    "a frame that continues what is not known": (
        changed(lambda request: request.update(session="a", continues=True)),
        409,
        "session 'a': no frame of it is remembered",
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_malformed_frame_of_a_stream_gets_one_line(in_stream: Server, name: str) -> None:
    body, status, word = STREAMS[name]
    got, said, _ = in_stream.predict(body)
    assert got == status, said
    assert word in said["error"] and "\n" not in said["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/predict", 405),
        ("PUT", "/predict", 405),
        ("POST", "/health", 405),
        ("DELETE", "/sessions/a", 404),
    ],
)
def test_another_path_or_method_says_what_there_is(server: Server, method: str, path: str, status: int) -> None:
    got, said, _ = server.ask(method, path)
    assert got == status and ("/predict" in said["error"] or "Use" in said["error"])


def test_a_stream_that_is_not_there_cannot_be_forgotten(in_stream: Server) -> None:
    assert in_stream.ask("DELETE", "/sessions/none")[0] == 404


def test_a_compressed_body_is_not_unpacked(server: Server) -> None:
    status, said, _ = server.predict(good(), **{"Content-Encoding": "gzip"})
    assert status == 415 and "Content-Encoding" in said["error"]
