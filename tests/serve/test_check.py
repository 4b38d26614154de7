"""The comparison of a server's answers with the model's: what it finds, and what it lets pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="pip install 'portbev[serve]'")

from standin import Server, StandIn
from test_trained import opened

from portbev.errors import PortbevError
from portbev.export.predictor import EnginePredictor
from portbev.export.trained import TrainedEngine, form_of, requests_of
from portbev.models import Detections
from portbev.serve.answers import answer
from portbev.serve.check import check, compare
from portbev.serve.client import Client


def found(scores: list[float], labels: list[int], x: list[float], **others: Any) -> Any:
    boxes = np.zeros((len(x), 9), np.float32)
    boxes[:, 3:6] = 1
    boxes[:, 0] = x
    detections = Detections(boxes, np.array(scores, np.float32), np.array(labels, np.int64))
    return answer(detections, classes=("car", "truck"), frame="", **others)


@pytest.mark.parametrize("name", ["bevformer", "echofusion"])
def test_a_server_of_the_same_weights_agrees_bit_by_bit(name: str) -> None:
    predictor, *_ = opened(name)
    with Server(predictor) as server:
        result = check(server.url, predictor, predictor.samples(), samples=3, tolerance=0.0)
        assert server.ask("GET", "/metrics")[1].decode().count("portbev_sessions 0.0") == 1
    assert result.difference == "" and result.largest == 0 and result.boxes > 0 and result.samples > 1


@pytest.mark.parametrize("name", ["bevformer", "echofusion"])
def test_a_server_of_a_graph_with_explicit_state_agrees_with_the_model(name: str) -> None:
    mine, model, dataset, config, _ = opened(name)
    form, requests = form_of(config), requests_of(config)
    facts = requests.facts(dataset)
    like = requests.batch([requests.request(dataset, 0)], config, facts)
    engine = TrainedEngine(form.module(model, like), form)
    served = EnginePredictor(config, engine, form, requests, facts, dataset.classes, {})
    with Server(served) as server:
        result = check(server.url, mine, mine.samples(), samples=3, tolerance=1e-4)
    assert result.difference == "" and result.samples > 1 and result.boxes > 0


def test_weights_of_another_digest_are_told_apart_before_anything_is_sent() -> None:
    mine = StandIn(facts={"weights": "ab" * 32})
    with Server(StandIn(facts={"weights": "cd" * 32, "checkpoint": "step_5"})) as server:
        result = check(server.url, mine, mine.samples, samples=2, tolerance=1e-4)  # type: ignore[arg-type]
    assert result.difference == "the server's weights are cdcdcdcdcdcd, the model's abababababab (SHA-256)"


def test_a_server_of_other_weights_differs_in_the_first_sample() -> None:
    mine, *_ = opened("echofusion")
    theirs, model, *_ = opened("echofusion")
    for weight in model.parameters():
        weight.data += 0.01
    with Server(theirs) as server:
        result = check(server.url, mine, mine.samples(), samples=2, tolerance=1e-4)
    assert result.samples == 0
    assert result.difference.startswith(f"sample {mine.samples().tokens[0]}: box 0 (car): ")


def test_a_server_of_another_model_is_told_apart_before_anything_is_sent() -> None:
    mine, *_ = opened("echofusion")
    stand_in = StandIn()
    with Server(stand_in) as server:
        result = check(server.url, mine, mine.samples(), samples=2, tolerance=1e-4)
    assert result.difference.startswith("the server's classes is ['car', 'truck']") and stand_in.sizes == []


def test_boxes_that_change_places_agree_and_others_do_not() -> None:
    mine = found([0.5, 0.5], [0, 0], [1.0, 2.0])
    assert compare(found([0.5, 0.5], [0, 0], [2.0, 1.0]), mine, 1e-4)[1] == ""
    assert "y" not in compare(mine, mine, 0.0)[1] and compare(mine, mine, 0.0)[0] == 0
    assert compare(found([0.5], [0], [1.0]), mine, 1e-4)[1] == "the server finds 1 boxes, the model 2"
    moved = compare(found([0.5, 0.5], [0, 0], [1.0, 2.1]), mine, 1e-4)
    assert moved[1] == "box 1 (car): x is 2.0999999 by the server, 2 by the model"
    assert compare(found([0.5, 0.5], [0, 1], [1.0, 2.0]), mine, 1e-4)[1].startswith("box 1 is truck by the server, car")
    twice = compare(found([0.5, 0.5], [0, 0], [1.0, 1.0]), mine, 1e-4)
    assert twice[1].startswith("box 1 (car): x is 1 by the server")


def test_boxes_that_json_cannot_tell_are_left_out_and_counted() -> None:
    said = found([0.5, float("nan"), 0.2], [0, 0, 1], [1.0, 2.0, float("inf")], min_score=0.1)
    assert said.scores == [0.5] and said.left_out == {"that are not finite": 2}


def test_a_client_says_what_the_server_refused() -> None:
    with Server(StandIn()) as server, pytest.raises(PortbevError, match=r"answers 400: .*no JSON"):
        Client(server.url).predict(b"{", "application/json")
