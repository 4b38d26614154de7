"""What a split holds, in numbers: said before the first step, and kept in the record of the run."""

from __future__ import annotations

from pydantic import BaseModel, Field


class BoxCounts(BaseModel):
    """Boxes of a class: in the files, and those that remain to learn from or to score against."""

    read: int = 0
    kept: int = 0


class Summary(BaseModel):
    """What will be learnt from a split, or what detections on it are scored against.

    Attributes:
        samples: how many there are.
        boxes: counts of each class, in the order of the labels.
        dropped: why boxes are left out -> how many ("no lidar or radar point", "outside the range").
        facts: what else a person should look at, by a name with its unit ("median time between key frames [s]").
            None: there is nothing to measure.
    """

    samples: int
    boxes: dict[str, BoxCounts] = Field(default_factory=dict)
    dropped: dict[str, int] = Field(default_factory=dict)
    facts: dict[str, float | int | None] = Field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Boxes of all classes that remain."""
        return sum(count.kept for count in self.boxes.values())

    def lines(self) -> list[str]:
        """The numbers in a few lines of text."""
        read = sum(count.read for count in self.boxes.values())
        boxes = ", ".join(f"{name} {_share(count)}" for name, count in self.boxes.items() if count.read)
        lines = [f"{self.samples} samples, {self.kept} of {read} boxes" + (f": {boxes}" if boxes else "")]
        if self.dropped:
            lines.append("left out: " + ", ".join(f"{count} {reason}" for reason, count in self.dropped.items()))
        if self.facts:
            lines.append(", ".join(f"{name} {_number(value)}" for name, value in self.facts.items()))
        return lines


def _share(count: BoxCounts) -> str:
    return str(count.kept) if count.kept == count.read else f"{count.kept} of {count.read}"


def _number(value: float | int | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"
