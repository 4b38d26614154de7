"""A predictor without a model, and a server of it inside the test's own process."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from portbev.export.interface import Field, Prediction, Request, State
from portbev.models import Detections
from portbev.serve.app import Service
from portbev.serve.limits import Limits
from portbev.serve.running import listen

CAMERAS, HEIGHT, WIDTH = 2, 4, 6
FIELDS = (
    Field("images", "uint8", (CAMERAS, HEIGHT, WIDTH, 3), "pictures: cameras, height, width, red green blue"),
    Field("intrinsics", "float64", (CAMERAS, 3, 3), "cameras, rows, columns", unit="pixels"),
    Field("radar", "int16", (3, 5), "chips, samples"),
    Field("points", "float32", (None, 2), "points, x and y", unit="m", optional=True),
)


@dataclass
class StandIn:
    """Finds one box per request, which says what was in it; waits where the gate is shut."""

    temporal: bool = False
    gate: threading.Event | None = None
    fail: Exception | None = None
    sizes: list[int] = field(default_factory=list)
    classes: tuple[str, ...] = ("car", "truck")
    fields: tuple[Field, ...] = FIELDS
    frame: str = "the frame of the test"
    batch: int = 4
    facts: Mapping[str, Any] = field(default_factory=lambda: {"name": "stand-in", "format": "none"})

    def __call__(self, requests: Sequence[Request], states: Sequence[State] | None = None) -> list[Prediction]:
        self.sizes.append(len(requests))
        assert self.gate is None or self.gate.wait(120)
        if self.fail is not None:
            raise self.fail
        return [self._one(request, {} if states is None else states[i]) for i, request in enumerate(requests)]

    def _one(self, request: Request, state: State) -> Prediction:
        before = float(state["sum"]) if state else 0.0
        total = before + float(request["images"].sum())
        box = np.array([[total, float(request["intrinsics"].sum()), float(request["radar"].sum()), 1, 1, 1, 0, 0, 0]])
        found = Detections(box.astype(np.float32), np.array([0.5], np.float32), np.array([1], np.int64))
        return Prediction(found, {"sum": torch.tensor(total)} if self.temporal else {})

    def samples(self, data_root: str | None = None) -> Any:
        raise NotImplementedError


class Server:
    """A service on a port of its own, on a thread of this process."""

    def __init__(self, predictor: Any, **limits: Any) -> None:
        import uvicorn

        self.service = Service(predictor, Limits(**limits))
        self._socket = listen("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(self.service.app, log_config=None, log_level="critical", lifespan="on", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: self._server.run([self._socket]), daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(120)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, content (of JSON its value) and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            content: Any = answer.read()
            if answer.headers.get("content-type", "").startswith("application/json"):
                content = json.loads(content)
            return answer.status, content, dict(answer.headers.items())
        finally:
            connection.close()

    def predict(self, request: Any, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self.ask("POST", "/predict", body, {"Content-Type": "application/json", **headers})


def png(height: int = HEIGHT, width: int = WIDTH, *, form: str = "PNG", mode: str = "RGB") -> bytes:
    pixels = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, form)
    return stream.getvalue()


def npy(values: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def good() -> dict[str, Any]:
    """A request that is answered."""
    return {
        "inputs": {
            "images": [text(png())] * CAMERAS,
            "intrinsics": [np.eye(3).tolist() for _ in range(CAMERAS)],
            "radar": text(npy(np.ones((3, 5), np.int16))),
        }
    }


def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """A good request after ``change``, as JSON."""
    request = good()
    change(request)
    return json.dumps(request).encode()
