"""Stopping in good order on SIGINT, SIGTERM and SIGHUP; and on SIGUSR1 and SIGUSR2, a queue's word that time ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import AbstractContextManager
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_SIGNALS = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]

_ECHO = 2.0
"""Seconds within which torchrun hands on what the terminal has said already."""


class Stopper(AbstractContextManager["Stopper"]):
    """Inside the block, the first of these signals sets :attr:`asked`; a second SIGINT interrupts at once.

    Under torchrun the second one counts only later: of one Ctrl-C a process hears from the terminal and from torchrun.

    Outside the main thread signals cannot be caught: there it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._asked_at = 0.0
        self._launched = "TORCHELASTIC_RUN_ID" in os.environ
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopper:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means that it goes on
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self.asked and number == signal.SIGINT and not (self._launched and now - self._asked_at < _ECHO):
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self._asked_at = True, now
