"""Jobs in processes: all are done, and every way of failing is an error rather than a wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from portbev.data.pool import run_jobs
from portbev.errors import DataError


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_every_job_is_done_once(workers: int) -> None:
    found = dict(run_jobs("pool_jobs:doubled", 1, [5, 6, 7, 8], workers=workers))
    assert found == {0: 11, 1: 13, 2: 15, 3: 17}


def test_no_jobs_need_no_process() -> None:
    assert list(run_jobs("pool_jobs:doubled", 1, [], workers=4)) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("refuse", "job 4 of 6: sample 3: is broken"),
        ("fail", "job 4 of 6: ZeroDivisionError: by zero"),
        ("chatter", "job 4 of 6: its process wrote 'good morning'"),
        ("die", "job 4 of 6: its process ended"),
    ],
)
def test_a_job_that_fails_in_a_process_is_named(kind: str, what: str) -> None:
    with pytest.raises(DataError) as caught:
        list(run_jobs("pool_jobs:troubled", kind, list(range(6)), workers=2))
    assert what in str(caught.value)
