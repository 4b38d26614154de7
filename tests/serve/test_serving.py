"""What a server does with requests that are well formed: answers, batches, queue, times, streams."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="pip install 'portbev[serve]'")

from standin import CAMERAS, FIELDS, Server, StandIn, good, npy, png

from portbev.errors import DataError
from portbev.serve.client import Client, multipart
from portbev.serve.limits import Limits
from portbev.serve.refusal import RefusalError
from portbev.serve.sessions import Sessions

PIXELS = float(np.arange(72).sum()) * CAMERAS


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def together(server: Server, requests: list[Any]) -> list[tuple[int, Any, Any]]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(server.predict, requests))


def test_json_and_multipart_mean_the_same() -> None:
    arrays = {
        "images": np.stack([np.arange(72, dtype=np.uint8).reshape(4, 6, 3)] * CAMERAS),
        "intrinsics": np.stack([np.eye(3)] * CAMERAS),
        "radar": np.ones((3, 5), np.int16),
    }
    with Server(StandIn()) as server:
        as_json = server.predict({**good(), "token": "a"})[1]
        as_parts = Client(server.url).predict(*multipart(arrays, FIELDS, token="a"))
    assert as_json == as_parts
    assert as_json["boxes"] == [[PIXELS, 6.0, 15.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]
    assert (as_json["classes"], as_json["scores"], as_json["token"]) == (["truck"], [0.5], "a")
    assert as_json["frame"] == "the frame of the test" and as_json["stream"] is None


def test_boxes_below_the_score_that_is_asked_for_are_left_out() -> None:
    with Server(StandIn()) as server:
        assert server.predict({**good(), "min_score": 0.5})[1]["scores"] == [0.5]
        assert server.predict({**good(), "min_score": 0.6})[1]["scores"] == []


def test_requests_that_wait_together_are_computed_together_and_each_gets_its_own_answer() -> None:
    model = StandIn()
    with Server(model, batch=4, batch_wait=20) as server:
        requests = [good() for _ in range(4)]
        for number, request in enumerate(requests):
            request["inputs"]["radar"] = [[number] * 5] * 3
        answers = together(server, requests)
    assert model.sizes == [4]
    assert [said["boxes"][0][2] for _, said, _ in answers] == [0.0, 15.0, 30.0, 45.0]


def test_requests_of_other_sizes_are_computed_apart() -> None:
    model = StandIn()
    with Server(model, batch=2, batch_wait=0.3) as server:
        longer = good()
        longer["inputs"]["points"] = [[1.0, 2.0]]
        answers = together(server, [good(), longer])
    assert [status for status, _, _ in answers] == [200, 200]
    assert model.sizes == [1, 1]


class Picky(StandIn):
    """Refuses a batch with a certain value."""

    def __call__(self, requests: Any, states: Any = None) -> Any:
        if any(request["radar"].max() == 7 for request in requests):
            raise DataError("has no inverse", where="inputs.intrinsics[0]", cure="Give a camera's")
        return super().__call__(requests, states)


def test_one_request_that_the_model_refuses_does_not_take_its_batch_down() -> None:
    with Server(Picky(), batch=3, batch_wait=20) as server:
        requests = [good() for _ in range(3)]
        requests[1]["inputs"]["radar"] = [[7] * 5] * 3
        answers = together(server, requests)
    assert [status for status, _, _ in answers] == [200, 422, 200]
    assert answers[1][1]["error"] == "inputs.intrinsics[0]: has no inverse. Give a camera's"


def test_a_model_that_fails_answers_500_and_the_server_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    model = StandIn(fail=ValueError("shapes do not match\nmore"))
    with Server(model) as server:
        status, said, _ = server.predict(good())
        assert status == 500 and said["error"].startswith("the model failed: ValueError: shapes do not match.")
        model.fail = None
        assert server.predict(good())[0] == 200 and server.ask("GET", "/health")[0] == 200
    assert capfd.readouterr().err == "portbev: the model failed: ValueError: shapes do not match\n"


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    gate = threading.Event()
    with Server(StandIn(gate=gate), queue=2) as server, ThreadPoolExecutor(2) as pool:
        inside = [pool.submit(server.predict, good()) for _ in range(2)]
        until(lambda: server.service.inside == 2)
        status, said, headers = server.predict(good())
        assert status == 503 and said["error"].startswith("2 requests are inside")
        assert int({name.lower(): value for name, value in headers.items()}["retry-after"]) >= 1
        gate.set()
        assert [one.result()[0] for one in inside] == [200, 200]
        assert server.predict(good())[0] == 200


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    gate = threading.Event()
    with Server(StandIn(gate=gate), timeout=0.1) as server:
        status, said, _ = server.predict(good())
        gate.set()
        assert status == 504 and "no answer within 0.1 s" in said["error"]
        until(lambda: server.service.inside == 0)


def test_a_body_that_does_not_come_is_given_up() -> None:
    with Server(StandIn(), read_timeout=0.1) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        client.sendall(head)
        client.settimeout(120)
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_body_without_a_length_is_bounded_too() -> None:
    with Server(StandIn(), max_body=1000) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        client.request("POST", "/predict", iter([b"x" * 600] * 3), {"Content-Type": "application/json"})
        assert client.getresponse().status == 413
        client.close()


def test_what_a_client_that_has_gone_waited_for_is_not_computed() -> None:
    gate = threading.Event()
    model = StandIn(gate=gate)
    body = json.dumps(good()).encode()
    lines = ["POST /predict HTTP/1.1", "Host: a", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    with Server(model) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.predict, good())
        until(lambda: len(model.sizes) == 1)
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            until(lambda: server.service.inside == 2)
        until(lambda: server.service.inside == 1)
        gate.set()
        assert first.result()[0] == 200 and server.predict(good())[0] == 200
    assert model.sizes == [1, 1]


# streams


def frame(session: str, **others: Any) -> dict[str, Any]:
    return {**good(), "session": session, **others}


def test_the_frames_of_a_stream_build_on_each_other_and_streams_are_apart() -> None:
    with Server(StandIn(temporal=True)) as server:
        sums = [server.predict(frame(name))[1] for name in ("a", "a", "b", "a")]
        assert [said["boxes"][0][0] / PIXELS for said in sums] == [1, 2, 1, 3]
        assert [said["stream"]["frame"] for said in sums] == [1, 2, 1, 3]
        assert server.predict(good())[1]["stream"] is None
        anew = server.predict(frame("a", continues=False))[1]
        assert anew["boxes"][0][0] == PIXELS and anew["stream"]["frame"] == 1
        assert server.predict(frame("a", continues=True))[1]["stream"]["frame"] == 2
        assert server.ask("DELETE", "/sessions/a")[0] == 204
        assert server.predict(frame("a", continues=True))[0] == 409


def test_two_frames_of_a_stream_at_once_are_refused() -> None:
    gate = threading.Event()
    with Server(StandIn(temporal=True, gate=gate)) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.predict, frame("a"))
        until(lambda: server.service.inside == 1 and len(server.service.predictor.sizes) == 1)
        assert server.predict(frame("a"))[0] == 409
        gate.set()
        assert first.result()[0] == 200
        assert server.predict(frame("a"))[1]["stream"]["frame"] == 2


def test_a_frame_that_was_given_up_leaves_its_stream_as_it_was() -> None:
    model = StandIn(temporal=True)
    with Server(model, timeout=1.0) as server:
        assert server.predict(frame("a"))[0] == 200
        model.gate = threading.Event()
        assert server.predict(frame("a"))[0] == 504
        model.gate.set()
        said = server.predict(frame("a", continues=True))
        assert said[0] == 200 and said[1]["stream"]["frame"] == 2


def refused(call: Callable[[], Any]) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        call()
    return caught.value


def next_frame(sessions: Sessions, name: str, continues: bool | None = None) -> Any:
    with sessions.frame(name, continues) as memory:
        state = memory.state
        sessions.remember(name, memory.frames + 1, f"{name}{memory.frames + 1}")
    return state


def test_a_stream_is_forgotten_after_its_time_and_not_before() -> None:
    now = [0.0]
    sessions = Sessions(Limits(session_expiry=10), clock=lambda: now[0])
    assert next_frame(sessions, "a") is None
    now[0] = 9.9
    assert next_frame(sessions, "a", True) == "a1"
    now[0] = 19.8
    assert next_frame(sessions, "a", True) == "a2" and len(sessions) == 1
    now[0] = 29.9
    assert len(sessions) == 0
    assert refused(lambda: next_frame(sessions, "a", True)).status == 409


def test_a_new_stream_is_refused_rather_than_push_out_one_in_progress() -> None:
    now = [0.0]
    sessions = Sessions(Limits(sessions=2, session_expiry=10), clock=lambda: now[0])
    next_frame(sessions, "a")
    now[0] = 4.0
    next_frame(sessions, "b")
    said = refused(lambda: next_frame(sessions, "c"))
    assert said.status == 503 and said.retry_after == pytest.approx(6)
    assert next_frame(sessions, "a") == "a1"
    now[0] = 14.5
    assert next_frame(sessions, "c") is None


def test_a_first_frame_that_fails_leaves_no_stream() -> None:
    sessions = Sessions(Limits(sessions=1))
    with pytest.raises(ValueError), sessions.frame("a", None):
        raise ValueError
    assert len(sessions) == 0 and next_frame(sessions, "b") is None


# what the server says of itself


@pytest.mark.parametrize("temporal", [False, True])
def test_the_schema_names_every_input_and_the_document_every_path(temporal: bool) -> None:
    with Server(StandIn(temporal=temporal)) as server:
        schema, document = server.ask("GET", "/schema")[1], server.ask("GET", "/openapi.json")[1]
        said = server.ask("GET", "/metadata")[1]
    inputs = schema["properties"]["inputs"]
    assert list(inputs["properties"]) == ["images", "intrinsics", "radar", "points"]
    assert inputs["required"] == ["images", "intrinsics", "radar"]
    assert inputs["properties"]["images"]["minItems"] == CAMERAS
    assert "6 x 4 pixels" in inputs["properties"]["images"]["description"]
    assert ("session" in schema["properties"]) == temporal
    paths = {"/predict", "/health", "/metadata", "/schema", "/openapi.json", "/metrics"}
    assert set(document["paths"]) == paths | ({"/sessions/{session}"} if temporal else set())
    references = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert references <= set(document["components"]["schemas"])
    assert said["classes"] == ["car", "truck"] and said["temporal"] == temporal
    assert said["inputs"][0]["shape"] == [2, 4, 6, 3] and said["limits"]["queue"] == 32


def test_the_metrics_count_what_was_answered_and_what_was_refused() -> None:
    with Server(StandIn()) as server:
        server.predict(good())
        server.predict(good())
        server.predict(b"{")
        text = server.ask("GET", "/metrics")[1].decode()
    assert 'portbev_answers_total{status="200"} 2.0' in text
    assert 'portbev_answers_total{status="400"} 1.0' in text
    assert "portbev_answer_seconds_count 2.0" in text and "portbev_requests_inside 0.0" in text
    assert "process_resident_memory_bytes" in text


def test_arrays_and_pictures_come_as_they_were_sent() -> None:
    seen: list[Any] = []

    class Keeping(StandIn):
        def __call__(self, requests: Any, states: Any = None) -> Any:
            seen.extend(requests)
            return super().__call__(requests, states)

    request = good()
    request["inputs"]["points"] = [[1, 2], [3.5, 4]]
    with Server(Keeping()) as server:
        assert server.predict(request)[0] == 200
    (got,) = seen
    assert got["images"].dtype == np.uint8 and got["images"].shape == (CAMERAS, 4, 6, 3)
    assert got["points"].dtype == np.float32 and got["points"].tolist() == [[1, 2], [3.5, 4]]
    assert got["radar"].dtype == np.int16 and got["intrinsics"].dtype == np.float64
    assert npy(got["radar"]) == npy(np.ones((3, 5), np.int16)) and png()[:4] == b"\x89PNG"
