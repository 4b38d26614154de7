"""What a server allows."""

from __future__ import annotations

from dataclasses import dataclass, fields

from portbev.errors import PortbevError

MIB = 2**20

MAX_PIXELS = 40_000_000
"""Of a picture, where the model takes any size. It is looked up in the header, before memory is taken for pixels."""

MAX_TEXT_VALUES = 200_000
"""Numbers, lists and keys that may be written out in a request's JSON: each takes many times its text in memory."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients may ask for, so that no number of them takes more than the machine has.

    Attributes:
        max_body: bytes of a request's body.
        queue: requests that are read, wait or are computed at once; more are refused with 503.
        timeout: seconds from a request's last byte to its answer.
        read_timeout: seconds that a body may take to arrive.
        batch: requests that are computed together, at most.
        batch_wait: seconds that the first request of a batch waits for others.
        sessions: streams whose history is kept at once.
        session_expiry: seconds after the last frame of a stream until its history is forgotten.
    """

    max_body: int = 32 * MIB
    queue: int = 32
    timeout: float = 30.0
    read_timeout: float = 20.0
    batch: int = 1
    batch_wait: float = 0.005
    sessions: int = 64
    session_expiry: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "batch_wait":
                if not 0 <= value < float("inf"):
                    raise PortbevError(f"is {value:g}", where=option(field.name), cure="Give 0 seconds or more")
            elif not 0 < value < float("inf"):
                raise PortbevError(f"is {value:g}", where=option(field.name), cure="Give a number above 0")


def option(name: str) -> str:
    """How a limit is spelt on the command line."""
    return "--" + name.replace("_", "-")
