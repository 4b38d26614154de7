"""Schedules are closed forms; the optimizer holds what can be trained."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from portbev.config import read_layers
from portbev.config.schema import OptimizerSection, ScheduleSection
from portbev.config.shipped import shipped_configs
from portbev.errors import ConfigError
from portbev.train.optim import build_optimizer, lr_factor, lr_line, scaled_lr, set_lr


def factors(section: ScheduleSection, total: int = 40, steps_per_epoch: int = 10) -> list[float]:
    return [lr_factor(section, step, total=total, steps_per_epoch=steps_per_epoch) for step in range(total)]


def test_constant_stays_at_the_top() -> None:
    assert factors(ScheduleSection()) == [1.0] * 40


def test_multistep_drops_at_the_first_step_of_a_milestone_epoch() -> None:
    found = factors(ScheduleSection(name="multistep", milestones=(1, 3), gamma=0.1))
    assert found[:10] == [1.0] * 10
    assert found[10:30] == [0.1] * 20
    assert found[30:] == pytest.approx([0.01] * 10)


def test_warmup_rises_linearly_and_never_starts_at_zero() -> None:
    found = factors(ScheduleSection(warmup_steps=4))
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_cosine_ends_at_its_final_factor() -> None:
    section = ScheduleSection(name="cosine", final_factor=0.05, warmup_steps=5)
    found = factors(section)
    assert found[5] == 1.0
    assert found[-1] == pytest.approx(0.05)
    middle = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * 10 / 34))
    assert found[15] == pytest.approx(middle)


@pytest.mark.parametrize("total", [20, 37])
def test_onecycle_equals_torch(total: int) -> None:
    section = ScheduleSection(name="onecycle", final_factor=0.02)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.5, total_steps=total, pct_start=0.3, final_div_factor=1 / (25 * 0.02), cycle_momentum=False
    )
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"] / 0.5)
        optimizer.step()
        theirs.step() if len(expected) < total else None
    assert factors(section, total=total) == pytest.approx(expected, rel=1e-9)


@given(
    st.sampled_from(["constant", "multistep", "cosine", "onecycle"]),
    st.integers(0, 5),
    st.integers(1, 60),
    st.floats(0, 1),
)
def test_every_schedule_stays_between_zero_and_one(name: str, warmup: int, total: int, final: float) -> None:
    section = ScheduleSection(name=name, warmup_steps=warmup, milestones=(2,), final_factor=final)  # type: ignore[arg-type]
    found = factors(section, total=total)
    assert all(0 <= factor <= 1 + 1e-12 for factor in found)


def test_warmup_from_a_third_over_cosine_by_epoch_is_the_closed_form() -> None:
    section = ScheduleSection(name="cosine", by_epoch=True, final_factor=1e-3, warmup_steps=500, warmup_start=1 / 3)
    epochs, per_epoch = 24, 300  # the warm-up ends inside the second epoch
    found = factors(section, total=epochs * per_epoch, steps_per_epoch=per_epoch)
    for step in (0, 1, 250, 299, 300, 499, 500, 599, 600, 3600, 7199):
        epoch = step // per_epoch
        regular = 1e-3 + (1 - 1e-3) * (1 + math.cos(math.pi * epoch / epochs)) / 2
        ramp = 1 - (1 - step / 500) * (1 - 1 / 3) if step < 500 else 1.0
        assert found[step] == pytest.approx(regular * ramp, rel=1e-12), step
    assert found[0] == pytest.approx(1 / 3) and len(set(found[600:900])) == 1 and found[7199] > 1e-3


def test_a_warmup_start_alone_ramps_a_constant_schedule() -> None:
    assert factors(ScheduleSection(warmup_steps=4, warmup_start=0.5))[:5] == pytest.approx([0.5, 0.625, 0.75, 0.875, 1])


@pytest.mark.parametrize("wrong", [{"name": "multistep", "by_epoch": True}, {"name": "onecycle", "warmup_start": 0.1}])
def test_settings_without_a_meaning_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"by_epoch|warmup_start"):
        ScheduleSection(**wrong)  # type: ignore[arg-type]


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.img_backbone = torch.nn.Linear(2, 2)
        self.img_neck = torch.nn.Linear(2, 2)
        self.head = torch.nn.Linear(2, 1)


def test_multipliers_make_groups_and_the_first_that_fits_counts() -> None:
    net = Net()
    net.img_backbone.bias.requires_grad_(False)
    section = OptimizerSection(lr_multipliers={"img_backbone": 0.1, "img": 0.5})
    optimizer = build_optimizer(section, net.named_parameters(), 0.2)
    groups = [({id(p) for p in group["params"]}, group["lr"]) for group in optimizer.param_groups]
    assert groups == [
        ({id(p) for p in net.head.parameters()}, 0.2),
        ({id(net.img_backbone.weight)}, pytest.approx(0.02)),
        ({id(p) for p in net.img_neck.parameters()}, pytest.approx(0.1)),
    ]
    set_lr(optimizer, 0.4)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.4, 0.04, 0.2])


def test_a_multiplier_that_fits_nothing_is_an_error_with_the_nearest_name() -> None:
    section = OptimizerSection(lr_multipliers={"img_bakbone": 0.1})
    with pytest.raises(ConfigError, match=r"optimizer\.lr_multipliers: .*'img_bakbone'.*Did you mean 'img_backbone'"):
        build_optimizer(section, Net().named_parameters(), 0.2)


def test_a_state_from_before_the_multipliers_is_taken_up() -> None:
    net = Net()
    optimizer = build_optimizer(OptimizerSection(), net.named_parameters(), 0.2)
    old = optimizer.state_dict()
    old["param_groups"][0].pop("lr_multiplier")
    optimizer.load_state_dict(old)
    set_lr(optimizer, 0.3)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3]


def test_learning_rate_scales_with_the_samples_of_a_step() -> None:
    section = OptimizerSection(lr=2e-4, reference_batch=64)
    assert scaled_lr(section, 64) == 2e-4
    assert scaled_lr(section, 8) == pytest.approx(2e-4 / 8)
    assert scaled_lr(OptimizerSection(lr=1e-3, reference_batch=None), 8) == 1e-3


def test_no_learning_rate_is_scaled_unless_the_recipe_says_for_how_many_samples_it_holds():
    assert scaled_lr(OptimizerSection(lr=1e-3), 8) == 1e-3


@pytest.mark.parametrize(
    ("lr", "reference", "samples", "line"),
    [
        (2e-4, 64, 1, "lr 2e-4 x 1/64 = 3.1e-6 (1 sample a step, optimizer.reference_batch=64)"),
        (2.8e-4, 16, 16, "lr 2.8e-4 x 16/16 = 2.8e-4 (16 samples a step, optimizer.reference_batch=16)"),
        (1.25e-2, None, 4, "lr 1.25e-2"),
        (10.0, 1, 2, "lr 1e1 x 2/1 = 2e1 (2 samples a step, optimizer.reference_batch=1)"),
    ],
)
def test_the_start_says_what_becomes_of_the_learning_rate(lr, reference, samples, line):
    assert lr_line(OptimizerSection(lr=lr, reference_batch=reference), samples) == line


def test_official_recipes_alone_scale_the_learning_rate_and_say_so_themselves():
    scaling = {}
    for name, path in shipped_configs().items():
        scaling[name] = read_layers(path).get("optimizer", {}).get("reference_batch")
    small = {name: value for name, value in scaling.items() if name.endswith("/laptop")}
    assert len(small) == 3
    assert set(small.values()) == {None}
    assert all(value for name, value in scaling.items() if name not in small)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_frozen_parameters_are_left_out(name: str) -> None:
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    optimizer = build_optimizer(OptimizerSection(name=name), model.named_parameters(), 0.1)  # type: ignore[arg-type]
    assert len(optimizer.param_groups) == 1
    assert [p is model.weight for p in optimizer.param_groups[0]["params"]] == [True]


def test_adamw_is_the_same_to_the_bit_with_and_without_foreach() -> None:
    def run(foreach: bool) -> torch.Tensor:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(100))
        optimizer = torch.optim.AdamW([weight], lr=0.01, weight_decay=0.01, foreach=foreach)
        for step in range(5):
            weight.grad = torch.sin(weight.detach() * (step + 1))
            optimizer.step()
        return weight.detach()

    assert torch.equal(run(True), run(False))
