"""What is remembered of each stream between its frames: bounded in number, and forgotten after a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from portbev.serve.limits import Limits
from portbev.serve.refusal import RefusalError


@dataclass
class Memory:
    """Of a stream's last frame.

    Attributes:
        frames: how many frames the stream has had.
        state: what the model remembers of them; None before the first.
        used: when the last one was.
        busy: whether the next frame is being computed.
    """

    frames: int = 0
    state: Any = None
    used: float = 0.0
    busy: bool = False


class Sessions:
    """The streams by the name that their client chose. Used on one thread.

    A stream in progress is never pushed out by a new one: where there is no room the new one is refused.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._streams: dict[str, Memory] = {}

    def __len__(self) -> int:
        self._forget()
        return len(self._streams)

    @contextmanager
    def frame(self, name: str, continues: bool | None) -> Iterator[Memory]:
        """The memory of stream ``name`` for its next frame, which nobody else may compute until the block ends.

        Inside, :meth:`remember` replaces what is remembered; a block that does not call it leaves all as it was.

        Raises:
            RefusalError: a frame of the stream is in work, ``continues`` is not to be had (409), or no room (503).
        """
        self._forget()
        known = self._streams.get(name)
        where = f"session {name!r}"
        if known is not None and known.busy:
            cure = "Send the frames of a stream one after the other"
            raise RefusalError(409, "its frame before this one is still being computed", where=where, cure=cure)
        if known is None and continues:
            expiry = f"it never was, the server was restarted, or {self._limits.session_expiry:g} s passed"
            cure = "Begin the stream anew: leave out continues, or set it to false"
            raise RefusalError(409, f"no frame of it is remembered: {expiry}", where=where, cure=cure)
        if known is None and len(self._streams) >= self._limits.sessions:
            raise self._full(where)
        if known is None:
            known = self._streams[name] = Memory(used=self._clock())
        known.busy = True
        try:
            yield Memory() if continues is False else known
        finally:
            known.busy, known.used = False, self._clock()
            if not known.frames:
                self._streams.pop(name, None)

    def remember(self, name: str, frames: int, state: Any) -> None:
        """What the frame just computed leaves, and its number in the stream. Inside :meth:`frame`."""
        known = self._streams[name]
        known.frames, known.state = frames, state

    def end(self, name: str) -> bool:
        """Forget a stream; whether there was one.

        Raises:
            RefusalError: a frame of it is in work (409).
        """
        self._forget()
        known = self._streams.get(name)
        if known is not None and known.busy:
            cure = "Wait for the frame's answer"
            raise RefusalError(409, "a frame of it is being computed", where=f"session {name!r}", cure=cure)
        return self._streams.pop(name, None) is not None

    def _forget(self) -> None:
        """Drop the streams whose last frame is too long ago."""
        before = self._clock() - self._limits.session_expiry
        for name in [name for name, stream in self._streams.items() if not stream.busy and stream.used < before]:
            del self._streams[name]

    def _full(self, where: str) -> RefusalError:
        wait = min(stream.used for stream in self._streams.values()) + self._limits.session_expiry - self._clock()
        what = f"{self._limits.sessions} streams are remembered already"
        cure = "End streams that are over (DELETE /sessions/NAME), or start the server with more --sessions"
        return RefusalError(503, what, where=where, cure=cure, retry_after=max(1.0, wait))
