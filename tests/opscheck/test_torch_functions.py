"""Functions of torch: which ones models call, and a device that computes one of them wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from portbev.opscheck.calls import TorchCall, record
from portbev.opscheck.checking import Finding, Oracle, check
from portbev.opscheck.guesses import guess
from portbev.opscheck.shrink import ELEMENTS, shrunk
from portbev.opscheck.torch_functions import torch_subject
from portbev.opscheck.traced import LEFT_OUT, FunctionTrace, traced_calls
from portbev.runtime import activate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def calls() -> list[TorchCall]:
    """Of a forward pass and a whole step of BEVDepth's smallest form."""
    activate("cpu")
    return traced_calls(["bevdepth/tiny_test"], ["bevdepth/tiny_test"])


def one(calls: list[TorchCall], name: str) -> TorchCall:
    return next(call for call in calls if call.name == name)


def test_a_trace_has_forward_losses_and_optimizer(calls: list[TorchCall]) -> None:
    names = {call.name for call in calls}
    assert {"conv2d", "conv_transpose2d", "batch_norm", "relu", "max_pool2d", "linear", "interpolate"} <= names | {
        "interpolate"
    }
    assert {"binary_cross_entropy", "Tensor.log", "Tensor.gather"} <= names, "losses"
    assert {"_foreach_addcdiv_", "_foreach_lerp_", "_foreach_sqrt"} <= names, "the optimizer"
    assert not names & LEFT_OUT.keys()
    assert not any(name.endswith("__get__") for name in names)


def test_convolutions_are_judged_with_each_kernel_and_stride_of_the_model(calls: list[TorchCall]) -> None:
    kernels = {call.specs[1].shape[2:] for call in calls if call.name == "conv2d"}
    assert {(1, 1), (3, 3), (7, 7)} <= kernels
    assert sum(call.name == "conv2d" for call in calls) > 5


def test_a_large_call_is_judged_smaller_with_its_channels() -> None:
    image, weight = torch.empty(6, 64, 928, 1600, device="meta"), torch.empty(256, 64, 3, 3, device="meta")
    whole = record(functional.conv2d, (image, weight), {}, "", on_meta=True)
    less = shrunk(whole)
    assert sum(torch.Size(spec.shape).numel() for spec in less.specs) <= ELEMENTS
    assert less.specs[1].shape[2:] == whole.specs[1].shape[2:]
    assert less.specs[1].shape[1] == less.specs[0].shape[1] == 64


def test_no_function_of_the_cpu_is_accused(calls: list[TorchCall]) -> None:
    seen: set[str] = set()
    for number, call in enumerate(calls):
        if call.name in seen:  # the command judges every form
            continue
        seen.add(call.name)
        subject = torch_subject(shrunk(call), torch.float32, number)
        finding = check(Oracle.of(subject), CPU, subject.trained)
        assert finding.faults == [], (subject.key, finding.faults)


class Wrong(TorchFunctionMode):
    """A device that computes a function wrong, in every dtype but float64."""

    def __init__(self, function: Any, wrong: Callable[..., Any]) -> None:
        super().__init__()
        self._function, self._wrong = function, wrong

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        double = any(isinstance(value, Tensor) and value.dtype == torch.float64 for value in args)
        computed = self._wrong if func is self._function and not double else func
        return computed(*args, **(kwargs or {}))


def accused(call: TorchCall, wrong: Callable[..., Any], dtype: torch.dtype = torch.float32) -> tuple[Finding, str]:
    oracle = Oracle.of(torch_subject(shrunk(call), dtype))
    with Wrong(call.function, wrong):
        finding = check(oracle, CPU, oracle.subject.trained)
    return finding, guess(oracle, finding)


def _tf32(x: Tensor) -> Tensor:
    rounded = ((x.detach().contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)
    return x + (rounded - x).detach()


def _bf16(x: Tensor) -> Tensor:
    return x + (x.bfloat16().float() - x).detach()


@pytest.mark.parametrize(("rounded", "told"), [(_bf16, "bfloat16"), (_tf32, "TF32")])
def test_a_convolution_in_fewer_bits_is_a_fault(
    calls: list[TorchCall], rounded: Callable[[Tensor], Tensor], told: str
) -> None:
    def wrong(x: Tensor, weight: Tensor, *rest: Any, **more: Any) -> Tensor:
        return functional.conv2d(rounded(x), rounded(weight), *rest, **more)

    finding, look = accused(one(calls, "conv2d"), wrong)
    assert any("rms" in fault for fault in finding.faults)
    assert told in look


def test_another_epsilon_of_a_normalisation_is_a_fault(calls: list[TorchCall]) -> None:
    def wrong(*args: Any, eps: float, **more: Any) -> Tensor:
        return functional.batch_norm(*args, eps=eps * 1.5, **more)

    call = one(calls, "batch_norm")
    args = call.args[:-1] if isinstance(call.args[-1], float) and "eps" not in call.kwargs else call.args
    call = replace(call, args=args, kwargs={"eps": 1e-5, **call.kwargs})
    finding, _ = accused(call, wrong)
    assert finding.faults


def test_a_momentum_that_is_not_applied_is_a_fault_of_the_running_statistics() -> None:
    x, mean, var = torch.randn(4, 6, 5, 5), torch.zeros(6), torch.ones(6)
    call = record(functional.batch_norm, (x, mean, var, None, None, True, 0.1, 1e-5), {}, "", on_meta=False)

    def wrong(x: Tensor, mean: Tensor, var: Tensor, *rest: Any, **more: Any) -> Tensor:
        return functional.batch_norm(x, mean.clone(), var.clone(), *rest, **more)

    finding, _ = accused(call, wrong)
    assert {fault.split(":")[0] for fault in finding.faults} >= {"result 2", "result 3"}


@pytest.mark.parametrize(
    ("function", "arguments", "wrong"),
    [
        (functional.relu, (torch.randn(300),), lambda x, **more: functional.relu(x).nan_to_num(0.0)),
        (functional.relu, (torch.randn(300),), lambda x, **more: functional.relu(x) * (1 + 1e-6)),
        (functional.interpolate, (torch.randn(1, 2, 6, 7), None, 2.0, "bilinear"), None),
    ],
    ids=["NaN is zero", "a bias of 1e-6", "a half-pixel shift"],
)
def test_small_faults_are_faults(function: Any, arguments: tuple[Any, ...], wrong: Any) -> None:
    call = record(function, arguments, {}, "", on_meta=False)

    def shifted(x: Tensor, *rest: Any, **more: Any) -> Tensor:
        return functional.interpolate(x, *rest, **{**more, "align_corners": True})

    finding, _ = accused(call, wrong or shifted)
    assert finding.faults


def test_a_warning_of_a_fallback_to_the_host_is_a_fault_of_a_device_that_has_one() -> None:
    import warnings

    from portbev.opscheck.checking import said

    with said() as told:
        warnings.warn(
            "CAUTION: The operator 'aten::x' is not supported and will fall back to run on the CPU", stacklevel=1
        )
    assert "aten::x" in told.fallback


def test_in_place_functions_leave_the_tensors_of_the_caller_alone() -> None:
    x = torch.zeros(3)
    call = record(torch.Tensor.add_, (x, torch.ones(3)), {}, "", on_meta=False)
    given = [torch.zeros(3), torch.ones(3)]
    (out,) = call.run(given, CPU)
    assert out.tolist() == [1, 1, 1] and given[0].tolist() == [0, 0, 0]


def test_what_a_function_changes_without_returning_it_is_a_result() -> None:
    call = record(torch._foreach_mul_, ([torch.ones(2), torch.ones(3)], 3.0), {}, "", on_meta=False)
    given = [torch.ones(2), torch.ones(3)]
    call = replace(call, changed=call.changes(given, CPU))
    assert [out.tolist() for out in call.run(given, CPU)] == [[3, 3], [3, 3, 3]]


def test_the_hosts_work_is_not_written_down() -> None:
    with FunctionTrace("", on_meta=True) as trace:
        torch.randn(3).sin()
        torch.empty(3, device="meta").cos()
    assert [call.name for call in trace.forms.values()] == ["Tensor.cos"]
