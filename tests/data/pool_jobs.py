"""Jobs for the tests of the pool; worker processes import them by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from portbev.errors import DataError


def doubled(common: int) -> Callable[[int], int]:
    return lambda job: 2 * job + common


def troubled(kind: str) -> Callable[[int], Any]:
    def work(job: int) -> Any:
        if job != 3:
            return job
        if kind == "refuse":
            raise DataError("is broken", where="sample 3")
        if kind == "fail":
            raise ZeroDivisionError("by zero")
        if kind == "chatter":
            print("good morning", flush=True)
            return job
        os._exit(1)

    return work
