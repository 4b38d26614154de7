"""Who is timed: every provider, and peers that compute the same."""

from __future__ import annotations

import importlib
import sys
import types

import pytest
import torch

import portbev_peers
from portbev.bench import contenders
from portbev.bench.cases import Case
from portbev.bench.contenders import peers, providers, ranking
from portbev.bench.peers import PLAIN, dense
from portbev.bench.sketches import values
from portbev.kernels import KERNELS
from portbev.ops.operator import OPERATORS
from portbev.opscheck.small import cases as small_calls
from portbev.plugins import Plugins
from portbev.runtime import activate

PEERS = [*PLAIN, *portbev_peers.portbev_peers()]


def trained(call: object) -> tuple[str, ...]:
    fields = call._asdict().items()  # type: ignore[attr-defined]
    return tuple(k for k, v in fields if isinstance(v, torch.Tensor) and (v.is_floating_point() or v.is_complex()))


@pytest.mark.parametrize("small", small_calls(), ids=lambda case: f"{case.operator}, {case.name}")
def test_plain_peers_compute_what_the_operator_computes_forward_and_backward(small: object) -> None:
    operator, call = small.operator, small.call  # type: ignore[attr-defined]
    for peer in PLAIN:
        if peer.operator != operator or not peer.same:
            continue
        ours = call._replace(**{k: getattr(call, k).clone().requires_grad_() for k in trained(call)})
        out = OPERATORS[operator](ours)
        prepared = peer.prepare(call)
        leaves = {k: v.clone().requires_grad_() for k, v in prepared.tensors.items()}
        found = prepared.ours(prepared.run(leaves))
        torch.testing.assert_close(found, out, rtol=1e-4, atol=1e-4)
        first = next(iter(leaves))  # of the same layout in both
        gradients = [
            torch.autograd.grad(x.abs().sum(), y) for x, y in ((found, leaves[first]), (out, getattr(ours, first)))
        ]
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_ragged_rows_come_back_from_the_padded_layout() -> None:
    (call,) = (case.call for case in small_calls() if case.name == "ragged")
    tensors, ours = dense(call)
    assert tensors["locations"].shape[:2] == (3, 7)
    rows = tensors["weights"].flatten(2)
    assert torch.equal(ours(rows), call.weights.flatten(1))


def test_every_provider_is_timed_by_itself_and_the_others_are_said() -> None:
    (small,) = (case for case in small_calls() if case.name == "levels")
    case = Case(small.operator, small.call, trained(small.call))
    backend = activate("cpu")
    found, _ = providers(case, small.call, backend, ranking(backend))
    assert {one.name for one in found} >= {"reference", "cpu_fast"}
    for one in found:
        one.ready()
        one.forward()()
        one.backward()()
        served = KERNELS.ledger.snapshot()["ms_deform_attn"]
        assert set(served["forward"]) == set(served["backward"]) == {one.name}


def test_a_peer_that_is_missing_or_breaks_is_said_and_the_others_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = activate("cpu")
    known = Plugins(lambda found: found.register(portbev_peers, "peers"))
    monkeypatch.setattr(contenders, "plugins", lambda: known)
    for name in ("mmcv", "deformops", "torchvision"):
        monkeypatch.setitem(sys.modules, name, None)
    broken = types.ModuleType("deformops.registry")
    (small,) = (case for case in small_calls() if case.name == "levels")
    found, absent = peers(Case(small.operator, small.call, ()), small.call, backend, ranking(backend))
    assert [one.name for one in found] == ["grid_sample"]
    assert "mmcv" in absent["mmcv, padded"] and "deformops" in absent["deformops, padded"]

    broken.msda = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "deformops", types.ModuleType("deformops"))
    monkeypatch.setitem(sys.modules, "deformops.registry", broken)
    found, absent = peers(Case(small.operator, small.call, ()), small.call, backend, ranking(backend))
    assert [one.name for one in found] == ["deformops, padded", "grid_sample"]


def installed(module: str) -> bool:
    try:
        importlib.import_module(module)
    except Exception:  # a library built for another torch fails in its own way
        return False
    return True


@pytest.mark.parametrize(
    ("name", "module"), [("torchvision", "torchvision.ops"), ("deformops", "deformops.registry"), ("mmcv", "mmcv.ops")]
)
def test_libraries_that_are_here_compute_what_the_operators_compute(name: str, module: str) -> None:
    if not installed(module):
        pytest.skip(f"left out: {module} is not usable here")
    seen = 0
    for small in small_calls():
        own = [peer for peer in PEERS if peer.name.startswith(name) and peer.operator == small.operator]
        peer = own[0] if own else None
        if peer is None or peer.supports(small.call) is not None:
            continue
        prepared = peer.prepare(small.call)
        out = OPERATORS[small.operator](small.call)
        torch.testing.assert_close(prepared.ours(prepared.run(prepared.tensors)), out, rtol=1e-4, atol=1e-4)
        seen += 1
    assert seen


def test_half_precision_goes_to_the_fields_that_models_give_in_it() -> None:
    (small,) = (case for case in small_calls() if case.name == "levels")
    bare = small.call._replace(**{k: getattr(small.call, k).to("meta") for k in trained(small.call)})
    made = values(small.operator, bare, {}, torch.device("cpu"), torch.float16)
    assert (made.value.dtype, made.locations.dtype) == (torch.float16, torch.float32)
