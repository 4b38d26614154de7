"""What the files accuse: the record, the operators that may have made it, the verdict so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from portbev.parity.bisect.region import Aligned, Pair
from portbev.parity.bisect.verdict import Verdict
from portbev.parity.dumps.reading import Dump
from portbev.parity.dumps.record import Record

STAGES = {
    "batch": "data",
    "parameter": "state",
    "buffer": "state",
    "grad": "backward",
    "parameter.local": "backward",
    "parameter.grad": "exchange",
    "parameter.clipped": "update",
    "update": "update",
    "parameter.after": "update",
    "buffer.after": "state",
    "average.after": "update",
    "detections": "decoding",
}
"""Part of the step that a role belongs to; the others are the forward pass."""


@dataclass
class Suspect:
    """What is to be computed again where a device is at hand.

    Attributes:
        pair: the record that differs.
        calls: b's results of the operators that may have made it; of a gradient, of the users of its tensor.
        nearby: further results of operators of b, those first that stand out most, and whether it is their backward
            that does: one of them may be the cause where none of ``calls`` is.
    """

    verdict: Verdict
    pair: Pair | None = None
    aligned: Aligned | None = None
    a: Dump | None = None
    calls: list[Record] = field(default_factory=list)
    nearby: list[tuple[Record, bool]] = field(default_factory=list)

    @property
    def is_numeric(self) -> bool:
        """Whether only computing it again tells the kind."""
        if self.pair is None:
            return bool(self.nearby)
        return self.verdict.kind in ("kernel", "reduced precision", "random draw") and self.verdict.stage in (
            "forward",
            "backward",
            "decoding",
        )
