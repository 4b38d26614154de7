"""The decoder of DETR-like heads with box refinement.

Source: Deformable DETR (Zhu et al., ICLR 2021) with 3-D reference points, as in BEVFormer and PolarFormer.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from portbev.nn.attention import FeedForward, MultiheadAttention
from portbev.nn.deform_attention import MultiScaleDeformableAttention, Shapes
from portbev.nn.detr import inverse_sigmoid
from portbev.nn.dropout import Dropout

PRIOR = 0.01
"""Probability that every query gives to every class before training."""


class ObjectQueries(nn.Module):
    """Learned positional encoding, content and first reference point of each object query.

    Keys ``embedding.weight`` (queries, 2C), first the C channels of the positions, and ``reference_points.*``.
    """

    def __init__(self, queries: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(queries, 2 * channels)
        self.reference_points = nn.Linear(channels, 3)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)

    def forward(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Content (B,Q,C), position (B,Q,C) and reference point (B,Q,3) float32 in [0, 1]."""
        position, content = self.embedding.weight.chunk(2, -1)
        reference = self.reference_points(position).float().sigmoid()
        content, position, reference = (x.expand(batch, -1, -1) for x in (content, position, reference))
        return content, position, reference


class Decoded(NamedTuple):
    """For each layer: its queries (B,Q,C), its input reference points (B,Q,3) and its box regressions (B,Q,code)."""

    states: list[Tensor]
    references: list[Tensor]
    regressions: list[Tensor]

    def centers(self) -> list[Tensor]:
        """For each layer, the boxes' centres (B,Q,3) in [0, 1]: the reference points refined by the regressions."""
        pairs = zip(self.regressions, self.references, strict=True)
        return [refine(regression, reference) for regression, reference in pairs]


def refine(regression: Tensor, reference: Tensor) -> Tensor:
    """Reference points (B,Q,3) in [0, 1], refined by a box regression (B,Q,code).

    Columns 0, 1 and 4 of the regression are added to the logits of x, y and z.
    """
    offset = torch.cat([regression[..., :2], regression[..., 4:5]], -1)
    return (offset + inverse_sigmoid(reference)).sigmoid()


class DecoderLayer(nn.Module):
    """Self-attention, deformable attention to the maps and a feed-forward layer, a LayerNorm after each."""

    def __init__(self, channels: int, heads: int, hidden: int, *, levels: int, points: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = MultiheadAttention(channels, heads, dropout)
        self.dropout = Dropout(dropout)
        self.cross_attention = MultiScaleDeformableAttention(
            channels, heads, levels=levels, points=points, dropout=dropout
        )
        self.feed_forward = FeedForward(channels, hidden, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x: Tensor, position: Tensor, tokens: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """Queries (B,Q,C), positions (B,Q,C), tokens (B,S,C) and references (B,Q,2) to queries (B,Q,C)."""
        query = x + position
        x = self.norms[0](x + self.dropout(self.self_attention(query, query, x)))
        x = self.norms[1](x + self.cross_attention(x + position, tokens, reference, shapes))
        return self.norms[2](self.feed_forward(x))


class Decoder(nn.Module):
    """Decoder layers, each of which refines the reference points for the next.

    The first reference points keep their gradient; refined ones are detached.
    """

    def __init__(
        self, layers: int, channels: int, heads: int, hidden: int, *, levels: int, points: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(channels, heads, hidden, levels=levels, points=points, dropout=dropout) for _ in range(layers)
        )

    def forward(
        self,
        object_queries: tuple[Tensor, Tensor, Tensor],
        tokens: Tensor,
        shapes: Shapes,
        branches: Sequence[Callable[[Tensor], Tensor]],
    ) -> Decoded:
        """Decode.

        Args:
            object_queries: content (B,Q,C), position (B,Q,C) and reference (B,Q,3) of :class:`ObjectQueries`.
            tokens: (B,S,C), maps one after the other, each row by row. The first two coordinates of a reference point
                are the (x, y) in the maps.
            shapes: (h, w) of the maps.
            branches: for each layer, a function from queries (B,Q,C) to box regressions (B,Q,code).
        """
        x, position, reference = object_queries
        decoded = Decoded([], [], [])
        for layer, branch in zip(self.layers, branches, strict=True):
            x = layer(x, position, tokens, reference[..., :2], shapes)
            regression = branch(x).float()
            decoded.states.append(x)
            decoded.references.append(reference)
            decoded.regressions.append(regression)
            reference = refine(regression, reference).detach()
        return decoded


def class_branch(channels: int, classes: int) -> nn.Sequential:
    """Layers from queries (...,C) to logits (...,classes), with an initial probability of about :data:`PRIOR`."""
    last = nn.Linear(channels, classes)
    nn.init.constant_(last.bias, -math.log(1 / PRIOR - 1))
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, last)


def box_branch(channels: int, code: int) -> nn.Sequential:
    """Layers from queries (...,C) to box regressions (...,code)."""
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(channels, channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(channels, code))


class Branches(nn.Module):
    """A class branch and a box branch for each layer of a decoder, each with its own weights.

    Keys ``cls_branches``, ``reg_branches`` and ``code_weights``, as in DETR3D.

    Args:
        channels: channels of the decoder's queries.
        layers: number of the decoder's layers.
        classes: number of classes without background.
        code_weights: weight of each number of a box code in the loss; as many as the code is long.
    """

    derived_buffers = ("code_weights",)

    def __init__(self, channels: int, layers: int, classes: int, code_weights: Sequence[float]) -> None:
        super().__init__()
        self.cls_branches = nn.ModuleList(class_branch(channels, classes) for _ in range(layers))
        self.reg_branches = nn.ModuleList(box_branch(channels, len(code_weights)) for _ in range(layers))
        self.register_buffer("code_weights", torch.tensor(code_weights))
        self.code_weights: Tensor

    def forward(self, decoded: Decoded) -> tuple[Tensor, Tensor]:
        """Logits (layers,B,Q,classes) and box codes (layers,B,Q,code), float32."""
        logits = [branch(x).float() for branch, x in zip(self.cls_branches, decoded.states, strict=True)]
        pairs = zip(decoded.regressions, decoded.centers(), strict=True)
        return torch.stack(logits), torch.stack([self.code(regression, center) for regression, center in pairs])

    def last(self, decoded: Decoded) -> tuple[Tensor, Tensor]:
        """Logits (B,Q,classes) and box codes (B,Q,code) of the last layer alone."""
        regression = decoded.regressions[-1]
        logits = self.cls_branches[-1](decoded.states[-1]).float()
        return logits, self.code(regression, refine(regression, decoded.references[-1]))

    @abstractmethod
    def code(self, regression: Tensor, center: Tensor) -> Tensor:
        """Box codes (B,Q,code) from a box branch's output (B,Q,code) and the refined centres (B,Q,3) in [0, 1]."""
