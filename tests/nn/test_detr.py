"""Matching and losses of DETR-like heads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portbev.nn.detr import assign, focal_cost, inverse_sigmoid, sigmoid_focal_loss
from portbev.nn.detr_decoder import Decoder, ObjectQueries, box_branch
from portbev.nn.detr_losses import detection_losses, match_all


def test_inverse_sigmoid_inverts_and_is_finite_at_the_ends() -> None:
    x = torch.linspace(0.001, 0.999, 50)
    torch.testing.assert_close(inverse_sigmoid(x).sigmoid(), x)
    ends = inverse_sigmoid(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    assert ends.isfinite().all() and ends[0] == ends[1] == -ends[2] == -ends[3]


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_focal_loss_is_the_sum_over_queries_and_classes(seed: int, queries: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = 3 * rng.standard_normal((queries, classes)), rng.integers(0, classes + 1, queries)
    total = 0.0
    for query, label in enumerate(labels):
        for c in range(classes):
            p = 1 / (1 + np.exp(-logits[query, c]))
            total += -0.25 * (1 - p) ** 2 * np.log(p) if c == label else -0.75 * p**2 * np.log(1 - p)
    loss = sigmoid_focal_loss(torch.from_numpy(logits), torch.from_numpy(labels))
    # the loss is float32, where 1 - p is known to 6e-8: what that leaves of (1 - p)^3 for a sure answer is below 1e-10
    assert loss.item() == pytest.approx(total, rel=1e-5, abs=1e-10)


def test_focal_loss_has_its_gradient_and_stays_finite_for_sure_mistakes() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([1]))
    loss.backward()
    assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


def test_focal_cost_falls_as_the_right_class_gets_likelier() -> None:
    logits = torch.tensor([[-4.0, 2.0], [0.0, 2.0], [4.0, 2.0]])
    cost = focal_cost(logits, torch.tensor([0]))
    assert cost.shape == (3, 1) and cost[0, 0] > cost[1, 0] > cost[2, 0]


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_assignment_is_the_cheapest_of_all(seed: int, queries: int, objects: int) -> None:
    cost = torch.from_numpy(np.random.default_rng(seed).standard_normal((queries, objects)))
    rows, columns = assign(cost)
    pairs = min(queries, objects)
    assert len(rows) == len(set(rows)) == len(set(columns)) == pairs and (np.diff(rows) > 0).all()
    ways = (
        sum(cost[q, o].item() for q, o in zip(qs, os, strict=True))
        for qs in itertools.permutations(range(queries), pairs)
        for os in itertools.combinations(range(objects), pairs)
    )
    assert float(cost[rows, columns].sum()) == pytest.approx(min(ways), abs=1e-9)


def test_the_decoder_refines_without_gradient_but_for_the_first_reference() -> None:
    torch.manual_seed(0)
    queries = ObjectQueries(4, 8)
    decoder = Decoder(2, 8, 2, 8, levels=1, points=2, dropout=0.0)
    branches = [box_branch(8, 10) for _ in range(2)]
    start = queries(1)
    decoded = decoder(start, torch.randn(1, 6, 8), [(2, 3)], branches)
    assert decoded.references[0].requires_grad and not decoded.references[1].requires_grad
    torch.testing.assert_close(decoded.references[1], decoded.centers()[0])
    decoded.centers()[1].sum().backward()
    assert queries.embedding.weight.grad is not None


def test_losses_of_every_layer_count_each_object_once_and_share_the_number_of_objects() -> None:
    class Weights:
        class_weight, box_weight, class_cost, box_cost = 2.0, 0.25, 2.0, 0.25

    torch.manual_seed(0)
    logits, codes = torch.randn(2, 1, 5, 3), torch.randn(2, 1, 5, 10)
    labels, targets = [torch.tensor([1, 2])], [torch.randn(2, 10)]
    losses = detection_losses(logits, codes, labels, targets, Weights(), torch.ones(10))
    assert list(losses) == ["d0.loss_cls", "d0.loss_bbox", "loss_cls", "loss_bbox"]
    for layer, prefix in enumerate(("d0.", "")):
        ((queries, objects),) = match_all(logits, codes, labels, targets, Weights())[layer]
        assert sorted(objects) == [0, 1]
        gaps = (codes[layer, 0, queries] - targets[0][objects]).abs().sum()
        torch.testing.assert_close(losses[f"{prefix}loss_bbox"], 0.25 * gaps / 2)
        assigned = torch.full((5,), 3)
        assigned[queries] = labels[0][objects]
        torch.testing.assert_close(losses[f"{prefix}loss_cls"], sigmoid_focal_loss(logits[layer, 0], assigned))
