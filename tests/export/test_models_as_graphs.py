"""Each model as a graph of tensors agrees with the model itself on samples of its data, history and chain included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from portbev.config import load_config
from portbev.data import build_dataset, open_root
from portbev.errors import DisagreementError, ExportError
from portbev.export import engines, parity
from portbev.export.interface import Engine, Tensors
from portbev.export.samples import order
from portbev.export.trained import Trained, TrainedEngine, form_of
from portbev.models import build_model
from portbev.nn.dropout import prepare_dropout
from portbev.plugins import plugins
from portbev.runtime import activate
from portbev.signal import RadarChain, RadarDescription

BUILT: dict[str, Trained] = {}


def untrained(name: str, *settings: str) -> Trained:
    """A model with first weights, whose normalisations have statistics of their own, and its evaluation split."""
    key = " ".join([name, *settings])
    if key not in BUILT:
        activate("cpu")
        config = load_config(name, settings)
        torch.manual_seed(0)
        model = build_model(plugins().models()[config.model.family], config.model).eval()
        prepare_dropout(model, 0)
        with torch.no_grad():
            for label, value in model.state_dict().items():
                if label.endswith(("running_mean", "conv_offset.weight", "sampling_offsets.weight")):
                    value.normal_(0, 0.1)
        dataset = build_dataset(config.data, open_root(config.data.root), "eval", seed=0)
        BUILT[key] = Trained(None, config, model, dataset, "model", Path("step_0"), [])  # type: ignore[arg-type]
    return BUILT[key]


def traced_engine(trained: Trained) -> tuple[Any, Engine]:
    """The form of a model, and its traced graph as an engine."""
    form = form_of(trained.config)
    batch, _, _ = parity.groups(trained, form, 1)[0]
    inputs = form.inputs(batch, {})
    program = engines.traced(form.module(trained.model, batch), inputs, form.lengths()).module()
    names = form.outputs()

    def call(given: Any) -> Tensors:
        return dict(zip(names, program(*given.values()), strict=True))

    return form, call


def eager_engine(trained: Trained) -> tuple[Any, Engine]:
    form = form_of(trained.config)
    batch, _, _ = parity.groups(trained, form, 1)[0]
    return form, TrainedEngine(form.module(trained.model, batch), form)


@pytest.mark.parametrize("name", ["bevformer/tiny_test", "echofusion/tiny_test"])
def test_a_traced_graph_agrees_with_the_model(name: str) -> None:
    trained = untrained(name, "model.decoder.layers=1")  # as much as shows an error; tracing takes the time
    form, engine = traced_engine(trained)
    found = parity.measured(trained, form, engine, 4)
    parity.require(found)
    assert found.boxes.boxes > 0 and all(output.scale > 0 for output in found.outputs)
    if form.temporal:
        assert found.streams == 1 and found.samples > 1  # frames with history are among them


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("bevdepth/tiny_test", ("model.variant=matrixvt",)),
        ("bevdepth/tiny_test", ("model.key_frames=2", "data.sweeps=[0,1]", "model.depth_aggregation=true")),
        ("bevdepth/tiny_test", ("model.quirks=fixed",)),
        *(("echofusion/tiny_test", (f"model.radar.input={kind}", f"data.radar={kind}")) for kind in ("rd", "adc")),
        ("echofusion/tiny_test", ("model.radar.input=ra", "data.radar=ra", "model.radar.azimuths=31")),
        ("echofusion/tiny_test", ("model.radar.log=true",)),
        ("echofusion/tiny_test", ("model.camera=false", "data.camera=false")),
    ],
)
def test_what_is_traced_agrees_with_the_model_in_its_variants(name: str, settings: tuple[str, ...]) -> None:
    trained = untrained(name, *settings)
    form, engine = eager_engine(trained)
    parity.require(parity.measured(trained, form, engine, 2))


def test_a_graph_that_forgets_its_history_is_refused() -> None:
    trained = untrained("bevformer/tiny_test")
    form, engine = eager_engine(trained)

    def forgetful(inputs: Any) -> Tensors:
        return engine({**inputs, "has_previous": torch.tensor([False])})

    with pytest.raises(DisagreementError, match="the export is wrong: result"):
        parity.require(parity.measured(trained, form, forgetful, 4))


@pytest.mark.parametrize("fault", ["nan", "codes", "scores"])
def test_a_wrong_result_is_refused(fault: str) -> None:
    trained = untrained("echofusion/tiny_test")
    form, engine = eager_engine(trained)

    def wrong(inputs: Any) -> Tensors:
        found = engine(inputs)
        changed: dict[str, Tensor] = {
            "nan": found["logits"] * float("nan"),
            "codes": found["codes"] + 0.2,
            "scores": found["logits"] + 0.01,
        }
        return {**found, ("codes" if fault == "codes" else "logits"): changed[fault]}

    found = parity.measured(trained, form, wrong, 2)
    with pytest.raises(DisagreementError):
        parity.require(found)
    if fault == "codes":  # seen in the boxes alone as well
        outputs = [output.model_copy(update={"max_rel": 0.0}) for output in found.outputs]
        with pytest.raises(DisagreementError, match=r"boxes are found by it or by the trained model alone"):
            parity.require(found.model_copy(update={"outputs": outputs}))


def test_point_clouds_have_no_form() -> None:
    config = load_config("echofusion/tiny_test", ["model.radar.input=pc", "data.radar=pc"])
    with pytest.raises(ExportError, match=r"^model\.radar\.input=pc: a list of points"):
        form_of(config)


def test_a_family_without_a_form_and_an_impossible_batch_are_refused() -> None:
    config = load_config("bevformer/tiny_test")
    with pytest.raises(ExportError, match="one frame at a time"):
        form_of(config, batch=2)
    foreign = config.model.model_copy(update={"family": "other"})
    with pytest.raises(ExportError, match="'other' has no form"):
        form_of(config.model_copy(update={"model": foreign}))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_spectra_without_writes_have_the_same_bits(dtype: torch.dtype) -> None:
    chain, raw = _chain(dtype)
    for names in (["ADC", "RT", "RD"], ["RT"]):
        eager, traced = chain._spectra(raw, names), chain._traced_spectra(raw, names)
        assert list(traced) == list(eager) == names
        for name in names:
            assert torch.equal(torch.view_as_real(traced[name]), torch.view_as_real(eager[name]))


def test_a_traced_chain_keeps_what_is_written() -> None:
    chain, raw = _chain(torch.complex64)

    class Chain(torch.nn.Module):
        def forward(self, raw: Tensor) -> tuple[Tensor]:
            return (torch.view_as_real(chain.products(raw, ["RD"])["RD"]),)  # type: ignore[arg-type]

    chain.products(raw, ["RD"])
    program = engines.traced(Chain(), {"raw": raw}, {}).module()
    other = raw.flip(2)
    assert torch.allclose(program(other)[0], Chain()(other)[0], rtol=1e-5, atol=1e-2)


def _chain(dtype: torch.dtype) -> tuple[RadarChain, Tensor]:
    radar = RadarDescription(
        samples=16, chirps=16, rx_per_chip=4, chip_order=(3, 0, 2, 1), doppler_slots=8, slots=(0, 1, 3), range_max=10.0,
        cfar_window=(3, 3), cfar_guard=(1, 1), cfar_threshold_db=10.0, road_elevation=0,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(-999, 999, (2, 4, radar.values_per_chip), dtype=torch.int16, generator=generator)
    return RadarChain(radar, dtype=dtype), raw


@pytest.mark.parametrize(
    ("streams", "count", "expected"),
    [
        (None, 4, [0, 2, 5, 7]),
        (None, 99, list(range(10))),
        ([[0, 1, 2, 3, 4, 5, 6], [7, 8, 9]], 4, [0, 1, 7, 8]),
        ([[0, 1, 2, 3, 4, 5, 6], [7, 8, 9]], 9, [0, 1, 2, 3, 4, 5, 7, 8, 9]),
        ([list(range(10))], 10, list(range(10))),
    ],
)
def test_the_check_sees_as_many_samples_as_are_asked_for_and_beginnings_among_them(
    streams: Any, count: int, expected: list[int]
) -> None:
    class Split:
        def __len__(self) -> int:
            return 10

        def streams(self) -> Any:
            return streams

    found = order(Split(), count)  # type: ignore[arg-type]
    assert [index for index, _ in found] == expected
    begins = {stream[0] for stream in streams} if streams else set(expected)
    assert {index for index, first in found if first} == begins & set(expected)
