"""What ``parity bisect`` finds: the cause of a difference, its kind, and the evidence that decides it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from portbev.parity.dumps.header import header_hash
from portbev.parity.dumps.reading import Dump

SCHEMA = "portbev.parity-bisect/1"
Kind = Literal[
    "kernel", "reduced precision", "random draw", "stale state", "data", "configuration", "communication", "none"
]
KINDS: dict[Kind, str] = {
    "kernel": "the same inputs give another result, by more than any rounding",
    "reduced precision": "the same inputs give a result of fewer bits",
    "random draw": "other random numbers were drawn",
    "stale state": "a buffer or a weight is not what it should be at this step",
    "data": "the step got other samples, or other pixels of them",
    "configuration": "the same operation was done with another setting",
    "communication": "each process has the same gradients, and their exchange gives others",
    "none": "no difference beyond what rounding does",
}


@dataclass
class Provider:
    """What a provider of an operator gave for the suspected call.

    Attributes:
        side: whose kernel it is: the name of the backend at hand, or ``host``.
        error: relative distance (Euclidean) from the definition in float64; None where it refused.
        ratio: over the error of a float32 evaluation on the CPU.
        note: why it refused, or ``served``.
    """

    name: str
    side: str
    error: float | None = None
    ratio: float | None = None
    note: str = ""


@dataclass
class Verdict:
    """The answer.

    Attributes:
        stage: the part of the step: ``data``, ``forward``, ``backward``, ``exchange``, ``update``, ``state``.
        module: qualified name, or a name in parentheses for what belongs to no module.
        operator: function of torch or ``portbev.NAME``; empty where it is the module as a whole.
        provider: who computed the operator where it went wrong, if it is one of :mod:`portbev.ops`.
        side: ``a``, ``b``, or empty where it cannot be told which of the two is wrong.
        rank: the process.
        evidence: the lines that decide it, the strongest first.
        others: further causes that this one does not explain, as text.
        providers: the suspected operator through each provider.
        live: what was computed on which device beside the dumps; empty for files alone.
    """

    kind: Kind
    stage: str = ""
    module: str = ""
    operator: str = ""
    provider: str = ""
    side: str = ""
    rank: int = 0
    record: str = ""
    evidence: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    providers: list[Provider] = field(default_factory=list)
    live: str = ""

    def headline(self) -> str:
        """The cause in one line."""
        if self.kind == "none":
            return "no cause: the two agree within what rounding does to them"
        operator = f", operator {self.operator}" if self.operator else ""
        by = f" by provider {self.provider}" if self.provider else ""
        return f"{self.kind} in {self.module or 'the model'}{operator}{by} ({self.stage})"


def document(verdict: Verdict, a: Dump, b: Dump) -> dict[str, Any]:
    """The verdict as JSON values, with what it is of and a content hash."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "headline": verdict.headline(),
        **asdict(verdict),
        "a": _side(a),
        "b": _side(b),
    }
    return {**content, "hash": header_hash(content)}


def _side(dump: Dump) -> dict[str, Any]:
    backend = dump.header.run.backend
    return {
        "dump": dump.path.resolve().name,
        "hash": dump.header.hash,
        "backend": backend.name,
        "emulated": backend.emulated,
        "device": backend.device_name,
    }
