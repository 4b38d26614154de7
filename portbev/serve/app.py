"""The HTTP application: what is asked for at which path, and what is answered."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import time
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from portbev.errors import PortbevError
from portbev.serve.answers import answer
from portbev.serve.batching import Batcher
from portbev.serve.body import discard, read_body, take_apart, understood
from portbev.serve.content import Parts
from portbev.serve.inputs import read_inputs
from portbev.serve.limits import MAX_TEXT_VALUES, Limits
from portbev.serve.metrics import CONTENT_TYPE, Metrics
from portbev.serve.refusal import RefusalError, unusable
from portbev.serve.schema import Answer, Asking, InStream, asking, openapi, request_schema
from portbev.serve.sessions import Sessions

if TYPE_CHECKING:
    from portbev.export.interface import Prediction, Predictor

PATHS = ("/predict", "/health", "/metadata", "/schema", "/openapi.json", "/metrics")

_READERS = 2  # threads that decode bodies; the model has one of its own


class Service:
    """A predictor behind HTTP. Everything but decoding and the model runs on the event loop.

    Args:
        predictor: answers requests.
        limits: what clients may ask for.
        debug: print tracebacks of what fails.

    Attributes:
        app: the ASGI application.
        failed: why the device cannot compute any more; empty while it can.
        inside: requests that are read, wait or are computed now.
        answered, refused: how many requests to ``/predict`` had which end.
    """

    def __init__(self, predictor: Predictor, limits: Limits, *, debug: bool = False) -> None:
        self.predictor, self.limits, self.debug = predictor, limits, debug
        self.stopping, self.failed = False, ""
        self.answered = self.refused = 0
        self.inside = 0
        self._schema = asking(predictor.temporal)
        self._sessions = Sessions(limits)
        self.metrics = Metrics(lambda: len(self._sessions))
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="reader")
        self._batcher: Batcher
        routes = [
            Route("/predict", self._predict, methods=["POST"]),
            Route("/health", self._health),
            Route("/metadata", self._metadata),
            Route("/schema", self._request_schema),
            Route("/openapi.json", self._openapi),
            Route("/metrics", self._metrics),
        ]
        if predictor.temporal:
            routes.append(Route("/sessions/{session}", self._forget, methods=["DELETE"]))
        self.app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={RefusalError: _refused, HTTPException: self._no_such},
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._batcher = Batcher(
            self._compute, most=self.limits.batch, wait=self.limits.batch_wait, computed=self._computed
        )
        self._batcher.start()
        try:
            yield
        finally:
            await self._batcher.stop()
            self._readers.shutdown(wait=False, cancel_futures=True)

    # what is asked for

    async def _predict(self, request: Request) -> Response:
        started = time.monotonic()
        try:
            found = await self._answer(request)
        except RefusalError as refusal:
            self.refused += 1
            self.metrics.answers.labels(str(refusal.status)).inc()
            await discard(request, self.limits)
            return _refused(request, refusal)
        except ClientDisconnect:
            self.refused += 1
            self.metrics.answers.labels("gone").inc()
            return Response(status_code=400)  # nobody reads it
        self.answered += 1
        self.metrics.answers.labels("200").inc()
        self.metrics.boxes.inc(len(found.boxes))
        self.metrics.seconds.observe(time.monotonic() - started)
        return Response(found.model_dump_json(), media_type="application/json")

    async def _health(self, _: Request) -> Response:
        if self.failed or self.stopping:
            refusal = self._unavailable()
            return _refused(None, refusal)
        return JSONResponse({"status": "ok", "inside": self.inside, "queue": self.limits.queue})

    async def _metadata(self, _: Request) -> Response:
        return JSONResponse(metadata(self.predictor, self.limits))

    async def _request_schema(self, _: Request) -> Response:
        return JSONResponse(request_schema(self.predictor.fields, temporal=self.predictor.temporal))

    async def _openapi(self, _: Request) -> Response:
        from portbev import __version__

        name = str(self.predictor.facts.get("name", ""))
        document = openapi(self.predictor.fields, temporal=self.predictor.temporal, name=name, version=__version__)
        return JSONResponse(document)

    async def _metrics(self, _: Request) -> Response:
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def _forget(self, request: Request) -> Response:
        name = request.path_params["session"]
        if not self._sessions.end(name):
            raise RefusalError(404, "no such stream is remembered", where=f"session {name[:100]!r}")
        return Response(status_code=204)

    async def _no_such(self, request: Request, error: Exception) -> Response:
        """Another path, or another method."""
        assert isinstance(error, HTTPException)
        path, paths = request.url.path[:100], ", ".join(PATHS)
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            refusal = RefusalError(405, f"{request.method} is not for this path", where=path, cure=f"Use {allowed}")
            return _refused(request, refusal, {"Allow": allowed})
        return _refused(request, RefusalError(error.status_code, "no such path", where=path, cure=f"There are {paths}"))

    # how it is answered

    async def _answer(self, request: Request) -> Answer:
        with self._place():
            body = await read_body(request, self.limits)
            kind = request.headers.get("content-type", "")
            work = asyncio.create_task(self._work(kind, body))
            del body
            gone = asyncio.create_task(_until_gone(request))
            try:
                await asyncio.wait((work, gone), timeout=self.limits.timeout, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    return work.result()
                if gone.done():
                    raise ClientDisconnect
                what = f"no answer within {self.limits.timeout:g} s"
                raise RefusalError(504, what, cure="Try again later, or start the server with a longer --timeout")
            finally:
                work.cancel()
                gone.cancel()
                await asyncio.gather(work, gone, return_exceptions=True)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places that there are for requests.

        Raises:
            RefusalError: none is free, the server is stopping, or it cannot compute.
        """
        if self.failed or self.stopping:
            raise self._unavailable()
        if self.inside >= self.limits.queue:
            what = f"{self.inside} requests are inside, which is all that there is room for"
            raise RefusalError(503, what, cure="Try again, or start the server with a larger --queue", retry_after=1)
        self.inside += 1
        self.metrics.inside.set(self.inside)
        try:
            yield
        finally:
            self.inside -= 1
            self.metrics.inside.set(self.inside)

    def _unavailable(self) -> RefusalError:
        if self.failed:
            return RefusalError(503, self.failed, cure="Start the server anew", retry_after=30)
        return RefusalError(503, "the server is stopping", cure="Try again when it is back", retry_after=5)

    async def _work(self, kind: str, body: bytes) -> Answer:
        loop = asyncio.get_running_loop()
        asked, arrays = await loop.run_in_executor(self._readers, self._read, kind, body)
        del body
        session, continues = getattr(asked, "session", None), getattr(asked, "continues", None)
        if session is None:
            if continues:
                cure = "Name the stream in session"
                raise unusable("a frame without a session continues nothing", where="continues", cure=cure)
            return self._told(asked, await self._predicted(arrays, None), None)
        with self._sessions.frame(session, continues) as memory:
            prediction = await self._predicted(arrays, memory.state)
            frames = memory.frames + 1
            self._sessions.remember(session, frames, prediction.state)
        return self._told(asked, prediction, InStream(session=session, frame=frames))

    def _told(self, asked: Asking, prediction: Prediction, stream: InStream | None) -> Answer:
        return answer(
            prediction.detections,
            classes=self.predictor.classes,
            frame=self.predictor.frame,
            token=asked.token,
            min_score=asked.min_score,
            stream=stream,
        )

    def _read(self, kind: str, body: bytes) -> tuple[Asking, Mapping[str, Any]]:
        """The request and its arrays; on a reader's thread."""
        text, parts = take_apart(kind, body)
        if sum(map(text.count, (b",", b"[", b"{"))) > MAX_TEXT_VALUES:
            what = f"more than {MAX_TEXT_VALUES:,} values are written out"
            raise RefusalError(413, what, where="body", cure="Send large arrays as .npy files")
        asked = understood(self._schema, text)
        return asked, read_inputs(asked.inputs, self.predictor.fields, Parts(parts))

    async def _predicted(self, arrays: Mapping[str, Any], state: Any) -> Prediction:
        """The model's answer.

        Raises:
            RefusalError: values that cannot be (422), or a model that failed (500).
        """
        try:
            result: Prediction = await self._batcher.submit(dict(arrays), state)
            return result
        except PortbevError as error:
            raise unusable(error.what, where=error.where or "inputs", cure=error.cure) from error
        except Exception as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> RefusalError:
        """The refusal for a failure that is not the request's; said once on the standard error, too."""
        from portbev.failures import explained

        said = explained(error)
        line = str(said) if said is not None else f"the model failed: {type(error).__name__}: {error}".splitlines()[0]
        print(f"portbev: {line}", file=sys.stderr, flush=True)
        if self.debug:
            traceback.print_exception(error)
        if said is not None and "out of memory" not in str(error).lower():
            self.failed = line  # a device that has failed answers nothing any more
        return RefusalError(500, line, cure="The server's own output says more with --debug")

    def _compute(self, requests: Sequence[Any], states: Sequence[Any]) -> Sequence[Prediction]:
        """On the model's thread."""
        if not self.predictor.temporal:
            return self.predictor(requests)
        return self.predictor(requests, [state or {} for state in states])

    def _computed(self, size: int, seconds: float) -> None:
        self.metrics.batch.observe(size)
        self.metrics.model_seconds.observe(seconds)


def metadata(predictor: Predictor, limits: Limits) -> dict[str, Any]:
    """What ``/metadata`` says."""
    from portbev import __version__

    return {
        "served_by": f"portbev {__version__}",
        **predictor.facts,
        "classes": list(predictor.classes),
        "frame": predictor.frame,
        "temporal": predictor.temporal,
        "inputs": [
            {
                "name": field.name,
                "dtype": field.dtype,
                "shape": list(field.shape),
                "meaning": field.meaning,
                "unit": field.unit,
                "frame": field.frame,
                "optional": field.optional,
            }
            for field in predictor.fields
        ],
        "limits": vars(limits),
    }


async def _until_gone(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refused(_: Any, refusal: Exception, headers: Mapping[str, str] | None = None) -> Response:
    assert isinstance(refusal, RefusalError)
    wait = {} if refusal.retry_after is None else {"Retry-After": str(math.ceil(refusal.retry_after))}
    return JSONResponse(refusal.as_json(), refusal.status, headers={**(headers or {}), **wait})
