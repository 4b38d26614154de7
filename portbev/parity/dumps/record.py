"""A record of a dump: where a tensor was met, what it was computed from, and its sketch.

A record's ``key`` says the same on every machine: module, operator, role, slot and the number of the call. Records are
aligned by it, so that two devices may compute in another order, or one may call more operators than the other. ``n`` is
the place in the order of one process's step, and what ``inputs`` and ``same`` refer to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from portbev.parity.dumps.sketch import Sketch

ROLES = {
    "batch": "a tensor or array of the batch; the slot is its place",
    "parameter": "a parameter before the step; the module is the parameter's name",
    "buffer": "a buffer before the step; the module is the buffer's name",
    "constant": "a tensor that came from the host and that no record stands for; the slot is the operator's input",
    "host": "what the host had read of earlier records when it made a constant; no tensor",
    "output": "a result of an operator, or of a module where the operator is empty",
    "view": "other bounds, strides or shape of a tensor; no sketch: the content is that of its input",
    "copy": "a tensor in another place or format; no sketch: the content is that of its input",
    "written": "a tensor that an operator wrote into",
    "draw": "random numbers: the operator drew them, or the generator of that name",
    "loss": "a term of the loss; the operator is the term's name",
    "grad": "gradient of the total loss by the result with the same module, operator, slot and call",
    "parameter.local": "a parameter's gradient in one backward pass of this process, before any exchange",
    "parameter.grad": "a parameter's gradient that the optimizer gets before clipping: all passes, all processes",
    "parameter.clipped": "a parameter's gradient that the optimizer gets, after clipping",
    "update": "a parameter after the step minus before",
    "parameter.after": "a parameter after the step",
    "buffer.after": "a buffer after the step",
    "average.after": "the moving average of a parameter or buffer after the step",
    "detections": "what inference decodes; the slot is the array's place",
}
"""All roles, and what they mean."""


class Key(NamedTuple):
    """What a record stands for, on any machine.

    Attributes:
        module: its qualified name; empty for the model itself and what is outside of all modules.
        operator: function of torch or ``portbev.NAME``; empty for a module's own result.
        role: one of :data:`ROLES`.
        slot: which of several results.
        call: how many times this (module, operator, role, slot) was met before, in one process.
    """

    module: str
    operator: str
    role: str
    slot: int
    call: int

    def __str__(self) -> str:
        place = self.module or "(model)"
        what = f"{place} {self.operator}".strip()
        extra = (f"[{self.slot}]" if self.slot else "") + (f" call {self.call}" if self.call else "")
        return f"{what} {self.role}{extra}"


@dataclass(frozen=True)
class Record:
    """One record.

    Attributes:
        n: its place in the order of this process's step, from 0.
        inputs: the places of the records that it was computed from; of a module's output, of the module's inputs.
        same: place of the record whose content this one has, if it has no sketch of its own.
        arguments: of an operator: all that is not a tensor, as text; of a view also shape and strides.
        provider: who served an operator of :mod:`portbev.ops`; empty for torch's own.
        sketch: None where ``same`` or the role says why.
        tensor: name of the file of the whole tensor, if it was kept.
        responses: how far the record moved (Euclidean) in each step that was run again with everything moved by one
            unit in the last place, or summed in another order; None where it was not met.
        arguments_move: the arguments were others in such a step: they follow from what is computed.
    """

    n: int
    key: Key
    inputs: tuple[int, ...] = ()
    same: int | None = None
    arguments: str = ""
    provider: str = ""
    sketch: Sketch | None = None
    tensor: str | None = None
    responses: tuple[float | None, ...] = ()
    arguments_move: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain values, without the responses, which are known later and have a file of their own."""
        line: dict[str, Any] = {"n": self.n, "key": list(self.key)}
        for name in ("inputs", "same", "arguments", "provider", "tensor"):
            value = getattr(self, name)
            if value not in (None, (), ""):
                line[name] = value
        if self.sketch is not None:
            line["sketch"] = self.sketch.as_json()
        return line

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Record:
        """What :meth:`as_json` gave.

        Raises:
            TypeError, ValueError, KeyError: another thing.
        """
        module, operator, role, slot, call = line["key"]
        found = line.get("sketch")
        return cls(
            n=int(line["n"]),
            key=Key(str(module), str(operator), str(role), int(slot), int(call)),
            inputs=tuple(int(n) for n in line.get("inputs", ())),
            same=line.get("same"),
            arguments=line.get("arguments", ""),
            provider=line.get("provider", ""),
            sketch=None if found is None else Sketch.from_json(found),
            tensor=line.get("tensor"),
        )
