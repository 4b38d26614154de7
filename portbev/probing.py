"""Looking for a device in stages, each with its error and its cure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One step of finding a device: what was looked for, whether it was there, and what to do if not."""

    name: str
    ok: bool
    detail: str = ""
    cure: str = ""


@dataclass(frozen=True)
class Availability:
    """The stages of a probe, in order; the device is usable when all of them passed."""

    stages: tuple[Stage, ...]

    @property
    def available(self) -> bool:
        return all(stage.ok for stage in self.stages)

    @property
    def failed(self) -> Stage | None:
        """First stage that did not pass."""
        return next((stage for stage in self.stages if not stage.ok), None)

    @property
    def reason(self) -> str:
        return "" if self.failed is None else f"{self.failed.name}: {self.failed.detail}"

    @property
    def cure(self) -> str:
        return "" if self.failed is None else self.failed.cure


class MissingError(Exception):
    """What a probe stage found missing, told in words of our own; other exceptions are shown with their type."""


@contextlib.contextmanager
def staged(stages: list[Stage], name: str, cure: str) -> Iterator[list[str]]:
    """Record one probe stage: passes with the text put into the yielded list, fails with the exception's."""
    said: list[str] = []
    try:
        yield said
    except MissingError as error:
        stages.append(Stage(name, False, str(error), cure))
    except Exception as error:
        stages.append(Stage(name, False, f"{type(error).__name__}: {error}", cure))
    else:
        stages.append(Stage(name, True, " ".join(said)))
