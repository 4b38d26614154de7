"""How kernels are launched: settings by architecture, kept in the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from portbev.kernels import KERNELS
from portbev.ops.dropout import DropoutCall
from portbev.runs.ledger import LedgerPage
from portbev_triton import dropout, launch, probe
from portbev_triton.records import KERNELS as RECORDS
from portbev_triton.records import MODULES


def test_what_is_said_of_an_architecture_goes_over_its_family_and_that_over_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = {"k": {"all": {"A": 1, "B": 1, "C": 1}, "sm": {"B": 2, "C": 2}, "sm_90": {"C": 3}}}
    monkeypatch.setattr(launch, "_table", lambda: table)
    launch.settings.cache_clear()
    assert launch.settings("k", "sm_90") == {"A": 1, "B": 2, "C": 3}
    assert launch.settings("k", "sm_120") == {"A": 1, "B": 2, "C": 2}
    assert launch.settings("k", "gfx90a") == {"A": 1, "B": 1, "C": 1}
    launch.settings.cache_clear()


def test_the_ledger_keeps_how_a_kernel_was_launched() -> None:
    import triton

    KERNELS.ledger.clear()
    dropout.forward(DropoutCall(torch.ones(5), 0.5, 1, 2, 3))
    page = LedgerPage.model_validate(KERNELS.ledger.snapshot()["dropout"])
    kept = page.settings["dropout"]
    assert kept["triton"] == triton.__version__ and kept["architecture"] == "interpreter" and kept["BLOCK"] > 0
    KERNELS.ledger.clear()


def test_an_empty_call_launches_nothing() -> None:
    KERNELS.ledger.clear()
    out, kept = dropout.forward(DropoutCall(torch.ones(0, 3), 0.5, 1, 2, 3))
    assert out.shape == kept.shape == (0, 3) and not KERNELS.ledger.snapshot()


def test_settings_name_no_kernel_that_is_not_there() -> None:
    named = {variant.name for module in MODULES for variant in module.variants()}
    assert set(json.loads(Path(launch.__file__).with_name("settings.json").read_text())) == named


def test_a_triton_that_is_too_old_is_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    import triton

    assert probe.probe() is None
    monkeypatch.setattr(triton, "__version__", "3.1.0")
    assert "older than 3.2: pip install" in str(probe.probe())


def test_deterministic_kernels_stand_before_atomic_ones_unless_determinism_is_off() -> None:
    for operator in {kernel.operator for kernel in RECORDS}:
        own = {kernel.provider: kernel for kernel in RECORDS if kernel.operator == operator}
        assert own["triton"].deterministic
        if "triton_atomic" in own:
            assert not own["triton_atomic"].deterministic
            assert own["triton_atomic"].priority > own["triton"].priority
