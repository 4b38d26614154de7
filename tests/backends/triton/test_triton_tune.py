"""Settings by trial: only where asked, the quickest, once, kept for the next process, no trace in results."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from portbev.kernels import KERNELS
from portbev.ops.dropout import DropoutCall
from portbev.ops.reference import dropout as reference
from portbev_triton import dropout, launch, tune

CALL = DropoutCall(torch.randn(3_000), 0.5, 1, 2, 3)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path))
    tune.tuned.cache_clear()
    KERNELS.ledger.clear()
    return tmp_path


def test_nothing_is_tried_unless_asked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tune.VARIABLE, raising=False)
    monkeypatch.setattr(tune, "device_seconds", lambda run: pytest.fail("was timed"))
    dropout.forward(CALL)
    assert list(cache.iterdir()) == []


def test_the_quickest_serves_is_kept_and_stands_in_the_ledger(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tune.VARIABLE, "1")
    trials: list[float] = []

    def seconds(run: object) -> float:
        assert callable(run)
        run()
        trials.append(1.0 - 0.1 * len(trials) if len(trials) < 6 else 5.0)  # the sixth is the quickest
        return trials[-1]

    monkeypatch.setattr(tune, "device_seconds", seconds)
    out, kept = dropout.forward(CALL)
    expected = reference.forward(CALL)
    assert torch.equal(out, expected[0]) and torch.equal(kept, expected[1])
    choices = launch._table()["dropout"]["candidates"]
    sixth = list(tune.candidates(launch.settings("dropout", "interpreter"), choices))[5]
    noted = KERNELS.ledger.snapshot()["dropout"]["settings"]["dropout"]
    assert noted["tuned"] == 1 and {name: noted[name] for name in sixth} == sixth
    count = len(trials)
    tune.tuned.cache_clear()  # another process
    dropout.forward(CALL)
    assert len(trials) == count
    dropout.forward(CALL._replace(input=CALL.input.half()))  # another kind of call
    assert len(trials) > count


def test_settings_that_cannot_be_launched_are_passed_over_and_none_left_is_an_error(cache: Path) -> None:
    def seconds(settings: dict[str, int]) -> float:
        if settings["BLOCK"] != 2:
            raise RuntimeError("out of shared memory")
        return 1.0

    book = tune.Tuned(cache / "book.json")
    assert book.best("a", [{"BLOCK": 1}, {"BLOCK": 2}], seconds) == {"BLOCK": 2}
    with pytest.raises(RuntimeError, match="shared memory"):
        book.best("b", [{"BLOCK": 1}], seconds)


def test_a_damaged_file_of_the_cache_is_made_anew(cache: Path) -> None:
    (cache / "book.json").write_text("{")
    assert tune.Tuned(cache / "book.json").best("a", [{"BLOCK": 3}], lambda _: 1.0) == {"BLOCK": 3}


def test_trials_leave_nothing_behind_in_a_tensor_that_is_added_to(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import triton
    import triton.language as tl

    @triton.jit
    def add_one(x, BLOCK: tl.constexpr):
        at = tl.arange(0, BLOCK)
        tl.store(x + at, tl.load(x + at) + 1)

    monkeypatch.setenv(tune.VARIABLE, "1")
    monkeypatch.setattr(tune, "device_seconds", lambda run: run() or 1.0)
    monkeypatch.setattr(launch, "_table", lambda: {"k": {"all": {"BLOCK": 4}, "candidates": {"num_warps": [1, 2]}}})
    launch.settings.cache_clear()
    values = torch.arange(4.0)
    launch.launch("k", add_one, lambda c: (1,), values, operator="dropout", like=values, accumulates=[values])
    launch.settings.cache_clear()
    assert values.tolist() == [1.0, 2.0, 3.0, 4.0]
