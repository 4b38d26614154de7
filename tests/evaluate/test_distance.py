"""``--range``: what it means, and one line for what it cannot mean."""

from __future__ import annotations

import math

import pytest

from portbev.errors import PortbevError
from portbev.evaluate.distance import checked_range, parse_range, range_name, range_record


@pytest.mark.parametrize(
    ("text", "within", "name", "record"),
    [
        ("0-30", (0.0, 30.0), "0-30m", [0.0, 30.0]),
        ("12.5-30", (12.5, 30.0), "12.5-30m", [12.5, 30.0]),
        ("30-", (30.0, math.inf), "30m-", [30.0, None]),
        (" 0-1 ", (0.0, 1.0), "0-1m", [0.0, 1.0]),
    ],
)
def test_ranges_are_read(text: str, within: tuple[float, float], name: str, record: list[float | None]) -> None:
    assert parse_range(text) == within
    assert (range_name(within), range_record(within)) == (name, record)


@pytest.mark.parametrize(
    "text", ["", "30", "-30", "0-30m", "a-b", "0--30", "0-30-50", "nan-3", "1e1-30", "0:30", "0,30"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(PortbevError, match=r"^--range: cannot read .*Write NEAR-FAR"):
        parse_range(text)


@pytest.mark.parametrize(("text", "cure"), [("50-30", "30-50"), ("30-30", "NEAR-FAR"), ("0-0", "NEAR-FAR")])
def test_a_range_that_holds_nothing_is_refused(text: str, cure: str) -> None:
    with pytest.raises(PortbevError, match=rf"holds nothing\. .*{cure}"):
        parse_range(text)


@pytest.mark.parametrize("within", [(-1.0, 3.0), (math.nan, 3.0), (0.0, math.nan), (math.inf, math.inf)])
def test_numbers_that_are_no_distances_are_refused(within: tuple[float, float]) -> None:
    with pytest.raises(PortbevError, match="no range of distances"):
        checked_range(within)
