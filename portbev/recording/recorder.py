"""Turns what a step computes into records, in the order in which it is computed, and passes them on.

Nothing is kept of a tensor but its sketch and the place of its record. Records are passed on by the hundred: the host
need not wait for the device at each of them, and the step's code and data stay in the caches longer.
"""

from __future__ import annotations

import fnmatch
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from portbev.parity.dumps.means import Means
from portbev.parity.dumps.record import Key, Record
from portbev.parity.dumps.sketch import Level, Pending
from portbev.recording.identity import Identities

_QUEUE = 256


class Sink(Protocol):
    """Takes records as they come."""

    def add(self, record: Record) -> None: ...

    def add_tensor(self, record: Record, tensor: Tensor) -> str: ...


class Recorder:
    """Records of one process's step.

    Args:
        sink: takes the records.
        level: what is kept of each tensor.
        tensors: patterns (as of file names) of the modules, or ``MODULE OPERATOR ROLE``, whose tensors are kept whole.
        on_host: sketch on the host: for devices that are slow at float64 and 64-bit integers, or cannot.

    Attributes:
        listening: whether operators and modules that are called are recorded.
        place: module whose forward runs, or a name in parentheses for what belongs to no module.
        known: which record a tensor's content is of.
    """

    def __init__(
        self, sink: Sink, level: Level = "sketch", tensors: Sequence[str] = (), *, on_host: bool = False
    ) -> None:
        self._sink, self._level, self._tensors, self._on_host = sink, level, tuple(tensors), on_host
        self._queue: list[tuple[Record, Pending | None]] = []
        self._calls: Counter[tuple[str, str, str, int]] = Counter()
        self._consumers: dict[int, list[int]] = defaultdict(list)
        self._grads: dict[int, int] = {}
        self._inputs: dict[int, tuple[int, ...]] = {}
        self._cut: set[int] = set()
        self._read: list[int] = []
        self._places: dict[str, dict[str, int]] = defaultdict(dict)
        self._host: int | None = None
        self._means = Means()
        self.listening = False
        self.place = ""
        self.known = Identities()
        self.count = 0

    def deaf(self) -> _Deaf:
        """Inside, nothing that is called is recorded: it is the recorder's own."""
        return _Deaf(self)

    def add(
        self,
        module: str,
        operator: str,
        role: str,
        index: int,
        tensor: Tensor | None,
        inputs: Iterable[int] = (),
        *,
        same: int | None = None,
        arguments: str = "",
        provider: str = "",
        consumes: bool = True,
    ) -> int:
        """Make a record; returns its place.

        Args:
            tensor: sketched; None where ``same`` or the role says why not.
            consumes: the inputs' gradients will depend on this record's.
        """
        n, self.count = self.count, self.count + 1
        named = (module, operator, role, index)
        key = Key(*named, self._calls[named])
        self._calls[named] += 1
        if not operator:
            self._places[role][module] = n
        inputs = tuple(dict.fromkeys(inputs))
        record = Record(n, key, inputs, same, arguments, provider)
        if consumes:
            self._inputs[n] = inputs
            for source in inputs:
                self._consumers[source].append(n)
        pending = None
        if tensor is not None:
            with torch._C.DisableTorchFunction(), torch.no_grad():  # what is called here is the recorder's own
                if self._tensors and self._is_kept(key):
                    record = replace(record, tensor=self._sink.add_tensor(record, tensor))
                pending = Pending(tensor.detach().cpu() if self._on_host else tensor, self._level, self._means)
        self._queue.append((record, pending))
        if len(self._queue) >= _QUEUE:
            with torch._C.DisableTorchFunction(), torch.no_grad():
                self.flush()
        return n

    def places(self, role: str) -> dict[str, int]:
        """Of each module or parameter: its last record of ``role`` that is no operator's."""
        return self._places[role]

    def flush(self) -> None:
        """Pass on what waits."""
        queue, self._queue = self._queue, []
        for record, pending in queue:
            self._sink.add(record if pending is None else replace(record, sketch=pending.result()))

    def source(self, tensor: Tensor, operator: str, index: int) -> int:
        """The record that ``tensor`` follows from; one that nobody computed here came from the host and gets one."""
        n = self.known.of(tensor)
        if n is None:
            n = self.add(self.place, operator, "constant", index, tensor, self.host_so_far())
            self.known.put(tensor, n)
        return n

    def reads(self, sources: Iterable[int]) -> None:
        """The host has got the values of these records: what it makes later may follow from them."""
        self._read += sources

    def cuts(self, n: int) -> None:
        """No gradient goes back through record ``n``."""
        self._cut.add(n)

    def follow(self, tensor: Tensor, n: int, named: tuple[str, str, int]) -> None:
        """Record the gradient of ``tensor``, whose record is ``n``, when a backward comes to it.

        Args:
            named: module, operator and index of the record.
        """
        if not tensor.requires_grad or not torch.is_grad_enabled() or tensor.is_leaf:
            return
        tensor.register_hook(lambda grad: self.grad(n, named, grad))

    def grad(self, n: int, named: tuple[str, str, int], grad: Tensor) -> None:
        """The backward has come to the gradient of record ``n``."""
        module, operator, index = named
        self._grads[n] = self.add(module, operator, "grad", index, grad, self.grad_inputs(n), consumes=False)

    def users(self, n: int) -> list[int]:
        """Record ``n``, what was computed from it, and what else that was computed from."""
        found = [n]
        for user in self._consumers[n]:
            found += [user, *self._inputs[user]]
        return found

    def grad_inputs(self, n: int) -> list[int]:
        """What the gradient of record ``n`` follows from: the gradients of its users' results, and their values.

        A user whose own gradient was not met (a view, a write into a part) hands on that of those who use it.
        """
        found: list[int] = []
        waiting, seen = [n], {n}
        while waiting:
            for user in self._consumers[waiting.pop()]:
                if user in seen or user in self._cut:
                    continue
                seen.add(user)
                if user in self._grads:
                    found += [self._grads[user], user, *self._inputs[user]]
                else:
                    waiting.append(user)
        return found

    def host_so_far(self) -> list[int]:
        """What the host has read: one record that stands for all of it."""
        if self._read:
            new = [*([] if self._host is None else [self._host]), *self._read]
            self._read = []
            self._host = self.add("", "", "host", 0, None, new, consumes=False)
        return [] if self._host is None else [self._host]

    def _is_kept(self, key: Key) -> bool:
        full = f"{key.module} {key.operator} {key.role}"
        return any(
            fnmatch.fnmatchcase(key.module, pattern) or fnmatch.fnmatchcase(full, pattern) for pattern in self._tensors
        )


class _Deaf:
    """What :func:`contextlib.contextmanager` would make; it is entered at every operator."""

    __slots__ = ("_before", "_recorder")

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __enter__(self) -> None:
        self._before, self._recorder.listening = self._recorder.listening, False

    def __exit__(self, *_: object) -> None:
        self._recorder.listening = self._before
