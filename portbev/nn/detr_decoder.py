"""The decoder of DETR-like heads with box refinement.

Source: Deformable DETR (Zhu et al., ICLR 2021) with 3-D references, as BEVFormer and PolarFormer have it.
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
"""Probability of each class of each query before training."""


class ObjectQueries(nn.Module):
    """Learned position and content of each object query, and where it looks first.

    Keys ``embedding.weight`` (queries, 2C), positions first, and ``reference_points.*``.
    """

    def __init__(self, queries: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(queries, 2 * channels)
        self.reference_points = nn.Linear(channels, 3)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)

    def forward(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Content (B,Q,C), position (B,Q,C), reference (B,Q,3) in [0, 1], float32."""
        position, content = self.embedding.weight.chunk(2, -1)
        reference = self.reference_points(position).float().sigmoid()
        content, position, reference = (x.expand(batch, -1, -1) for x in (content, position, reference))
        return content, position, reference


class Decoded(NamedTuple):
    """Per layer: queries (B,Q,C), the references (B,Q,3) that entered it, and its box regression (B,Q,code)."""

    states: list[Tensor]
    references: list[Tensor]
    regressions: list[Tensor]

    def places(self) -> list[Tensor]:
        """Per layer, the boxes' centres (B,Q,3) as shares of the range: the reference moved by the regression."""
        return [moved(step, place) for step, place in zip(self.regressions, self.references, strict=True)]


def moved(regression: Tensor, reference: Tensor) -> Tensor:
    """Reference (B,Q,3) moved, before the sigmoid, by numbers 0, 1 and 4 of a box code: (x, y, z)."""
    step = torch.cat([regression[..., :2], regression[..., 4:5]], -1)
    return (step + inverse_sigmoid(reference)).sigmoid()


class DecoderLayer(nn.Module):
    """Self-attention, deformable attention to the maps and a feed-forward layer, each normalised afterwards."""

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
    """Layers that refine where each query looks. The first reference keeps its gradient; later ones are detached."""

    def __init__(
        self, layers: int, channels: int, heads: int, hidden: int, *, levels: int, points: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(channels, heads, hidden, levels=levels, points=points, dropout=dropout) for _ in range(layers)
        )

    def forward(
        self,
        start: tuple[Tensor, Tensor, Tensor],
        tokens: Tensor,
        shapes: Shapes,
        branches: Sequence[Callable[[Tensor], Tensor]],
    ) -> Decoded:
        """Decode.

        Args:
            start: content (B,Q,C), position (B,Q,C) and reference (B,Q,3), see :class:`ObjectQueries`.
            tokens: (B,S,C), the maps of ``shapes`` row-major one after the other; references 0 and 1 are their (x, y).
            branches: per layer, queries (B,Q,C) to box regressions (B,Q,code).
        """
        x, position, reference = start
        decoded = Decoded([], [], [])
        for layer, branch in zip(self.layers, branches, strict=True):
            x = layer(x, position, tokens, reference[..., :2], shapes)
            regression = branch(x).float()
            decoded.states.append(x)
            decoded.references.append(reference)
            decoded.regressions.append(regression)
            reference = moved(regression, reference).detach()
        return decoded


def class_branch(channels: int, classes: int) -> nn.Sequential:
    """Queries (...,C) to logits (...,classes), which start at :data:`PRIOR`."""
    last = nn.Linear(channels, classes)
    nn.init.constant_(last.bias, -math.log(1 / PRIOR - 1))
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, last)


def box_branch(channels: int, code: int) -> nn.Sequential:
    """Queries (...,C) to box regressions (...,code)."""
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(channels, channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(channels, code))


class Branches(nn.Module):
    """Class and box branches with weights of their own for each of a decoder's layers.

    Keys ``cls_branches``, ``reg_branches`` and ``code_weights``, as in DETR3D.

    Args:
        channels: of the decoder. layers: of the decoder. classes: without background.
        code_weights: of each number of a box code in the loss; their count is the code's length.
    """

    def __init__(self, channels: int, layers: int, classes: int, code_weights: Sequence[float]) -> None:
        super().__init__()
        self.cls_branches = nn.ModuleList(class_branch(channels, classes) for _ in range(layers))
        self.reg_branches = nn.ModuleList(box_branch(channels, len(code_weights)) for _ in range(layers))
        self.register_buffer("code_weights", torch.tensor(code_weights))
        self.code_weights: Tensor

    def forward(self, decoded: Decoded) -> tuple[Tensor, Tensor]:
        """Logits (layers,B,Q,classes) and box codes (layers,B,Q,code), float32."""
        logits = [branch(x).float() for branch, x in zip(self.cls_branches, decoded.states, strict=True)]
        pairs = zip(decoded.regressions, decoded.places(), strict=True)
        return torch.stack(logits), torch.stack([self.code(regression, place) for regression, place in pairs])

    @abstractmethod
    def code(self, regression: Tensor, place: Tensor) -> Tensor:
        """Box codes (B,Q,code) of what a box branch found (B,Q,code) at places (B,Q,3) in [0, 1]."""
