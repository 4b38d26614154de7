"""Kernels: ranking, choice, dispatch, ledger."""

from __future__ import annotations

from typing import Any

import pytest

from portbev.errors import PortbevError
from portbev.kernels import Kernel, Kernels


def kernel(provider: str, priority: int = 10, **options: Any) -> Kernel:
    options.setdefault("forward", lambda x: f"{provider}({x})")
    return Kernel(operator="double", provider=provider, priority=priority, **options)


@pytest.fixture
def kernels() -> Kernels:
    table = Kernels()
    table.add_reference(kernel("reference", 0, backward=lambda g, x: f"reference'({g}, {x})"))
    return table


def providers(table: Kernels, offered: list[Kernel], **options: Any) -> list[str]:
    return [k.provider for k in table.rank("npu", offered, **options)["double"].kernels]


def test_higher_priority_comes_first_and_the_reference_last(kernels: Kernels) -> None:
    assert providers(kernels, [kernel("slow", 5), kernel("fast", 30)]) == ["fast", "slow", "reference"]


def test_kernels_of_other_backends_are_left_out_without_a_line(kernels: Kernels) -> None:
    found = kernels.rank("npu", [kernel("triton", backends=("cuda", "rocm"))])["double"]
    assert [k.provider for k in found.kernels] == ["reference"]
    assert found.excluded == {}


def test_an_absent_provider_is_excluded_with_its_reason(kernels: Kernels) -> None:
    found = kernels.rank("npu", [kernel("mx", probe=lambda: "mx is not installed: get it")])["double"]
    assert found.excluded == {"mx": "mx is not installed: get it"}


def test_a_probe_that_raises_excludes_its_kernel_and_is_quoted(kernels: Kernels) -> None:
    def probe() -> str | None:
        raise OSError("libmx.so")

    found = kernels.rank("npu", [kernel("mx", probe=probe)])["double"]
    assert found.excluded == {"mx": "probe failed: OSError: libmx.so"}


def test_determinism_that_is_preferred_comes_before_speed_and_both_before_plain_code(kernels: Kernels) -> None:
    offered = [
        kernel("atomic", 30, deterministic=False),
        kernel("slow_atomic", 12, deterministic=False),
        kernel("ordered", 20),
        kernel("slow_ordered", 10),
        kernel("plain", 9),
        kernel("last", -1, deterministic=False),
    ]
    ordered = ["ordered", "slow_ordered", "atomic", "slow_atomic", "plain", "reference", "last"]
    assert providers(kernels, offered, deterministic="preferred") == ordered
    assert providers(kernels, offered) == ordered
    by_speed = ["atomic", "ordered", "slow_atomic", "slow_ordered", "plain", "reference", "last"]
    assert providers(kernels, offered, deterministic="off") == by_speed
    strict = ["ordered", "slow_ordered", "plain", "reference"]
    assert providers(kernels, offered, deterministic="required") == strict


def test_required_determinism_excludes_kernels_that_are_not(kernels: Kernels) -> None:
    atomic = kernel("atomic", 30, deterministic=False)
    assert providers(kernels, [atomic]) == ["atomic", "reference"]
    found = kernels.rank("npu", [atomic], deterministic="required")["double"]
    assert [k.provider for k in found.kernels] == ["reference"]
    assert found.excluded == {"atomic": "not deterministic"}


def test_a_choice_keeps_one_provider_and_says_so_of_the_others(kernels: Kernels) -> None:
    found = kernels.rank("npu", [kernel("fast", 30)], choice={"double": "reference"})["double"]
    assert [k.provider for k in found.kernels] == ["reference"]
    assert found.excluded == {"fast": "--kernel double=reference"}


def test_all_speaks_for_operators_that_are_not_named(kernels: Kernels) -> None:
    assert providers(kernels, [kernel("fast", 30)], choice={"all": "reference"}) == ["reference"]
    assert providers(kernels, [kernel("fast", 30)], choice={"all": "fast"}) == ["fast"]
    assert providers(kernels, [], choice={"all": "fast"}) == ["reference"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"dubble": "reference"}, r"--kernel: unknown operator 'dubble'\. Did you mean 'double'\?"),
        ({"double": "fsat"}, r"double=fsat cannot be used: .*Providers here: fast, reference"),
    ],
)
def test_an_unknown_choice_is_an_error_with_the_known_names(
    kernels: Kernels, choice: dict[str, str], message: str
) -> None:
    with pytest.raises(PortbevError, match=message):
        kernels.rank("npu", [kernel("fast", 30)], choice=choice)


def test_choosing_an_excluded_provider_tells_why_it_is(kernels: Kernels) -> None:
    absent = kernel("mx", probe=lambda: "mx is not installed")
    with pytest.raises(PortbevError, match="double=mx cannot be used: mx is not installed"):
        kernels.rank("npu", [absent], choice={"double": "mx"})


def test_dispatch_asks_in_order_and_writes_down_who_passed(kernels: Kernels) -> None:
    picky = kernel("picky", 30, supports=lambda x: None if x < 5 else f"{x} is too large")
    kernels.use("npu", kernels.rank("npu", [picky]))
    assert kernels.dispatch("double", "npu", 1) == "picky(1)"
    assert kernels.dispatch("double", "npu", 7) == "reference(7)"
    assert kernels.ledger.snapshot() == {
        "double": {
            "forward": {"picky": 1, "reference": 1},
            "backward": {},
            "passed_over": [{"provider": "picky", "reason": "forward: 7 is too large", "times": 1}],
        }
    }


def test_a_kernel_without_backward_leaves_it_to_the_next(kernels: Kernels) -> None:
    kernels.use("npu", kernels.rank("npu", [kernel("fast", 30)]))
    assert kernels.dispatch("double", "npu", 1, 0.5) == "reference'(0.5, 1)"
    assert kernels.ledger.snapshot()["double"]["passed_over"][0]["reason"] == "backward: has no backward"


def test_supports_speaks_for_both_directions_unless_the_backward_has_its_own(kernels: Kernels) -> None:
    options = {"backward": lambda g, x: f"picky'({g}, {x})", "supports": lambda x: None if x < 5 else "too large"}
    kernels.use("npu", kernels.rank("npu", [kernel("picky", 30, **options)]))
    assert kernels.dispatch("double", "npu", 1, 0.5) == "picky'(0.5, 1)"
    assert kernels.dispatch("double", "npu", 7, 0.5) == "reference'(0.5, 7)"
    own = kernel("picky", 30, **options, supports_backward=lambda g, x: "steep" if g > 1 else None)
    kernels.use("npu", kernels.rank("npu", [own]))
    assert kernels.dispatch("double", "npu", 7, 0.5) == "picky'(0.5, 7)"
    assert kernels.dispatch("double", "npu", 1, 2.5) == "reference'(2.5, 1)"
    assert kernels.ledger.snapshot()["double"]["passed_over"][0]["reason"] == "backward: steep"


def test_tensors_of_another_device_get_the_reference(kernels: Kernels) -> None:
    kernels.use("npu", kernels.rank("npu", [kernel("fast", 30)]))
    assert kernels.dispatch("double", "cpu", 1) == "reference(1)"


def test_nobody_left_is_an_error_with_a_cure(kernels: Kernels) -> None:
    never = kernel("never", 30, supports=lambda x: "not today")
    kernels.use("npu", kernels.rank("npu", [never], choice={"double": "never"}))
    with pytest.raises(PortbevError, match=r"no provider serves double \(forward\).*Leave the reference"):
        kernels.dispatch("double", "npu", 1)


def test_the_ledger_says_whose_bits_may_vary_once_they_served(kernels: Kernels) -> None:
    atomic = kernel("atomic", 30, deterministic=False, supports=lambda x: None if x < 5 else "too large")
    kernels.use("npu", kernels.rank("npu", [atomic]))
    kernels.dispatch("double", "npu", 7)
    assert "not_deterministic" not in kernels.ledger.snapshot()["double"]
    kernels.dispatch("double", "npu", 1)
    assert kernels.ledger.snapshot()["double"]["not_deterministic"] == ["atomic"]
    kernels.ledger.clear()
    assert kernels.ledger.varying == set()


def test_excluded_providers_are_in_the_ledger_of_every_run(kernels: Kernels) -> None:
    kernels.use("npu", kernels.rank("npu", [kernel("mx", probe=lambda: "absent")]))
    assert kernels.ledger.snapshot()["double"]["passed_over"] == [{"provider": "mx", "reason": "absent", "times": 1}]


def test_using_another_backend_starts_a_new_ledger(kernels: Kernels) -> None:
    kernels.use("npu", kernels.rank("npu", []))
    kernels.dispatch("double", "npu", 1)
    kernels.use("cpu", kernels.rank("cpu", []))
    assert kernels.ledger.snapshot() == {}
