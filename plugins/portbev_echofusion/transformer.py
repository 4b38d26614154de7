"""Transformers without encoder layers, computed in parts to bound their memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portbev.nn.attention import MultiheadAttention
from portbev.nn.dropout import Dropout, dropout_rows
from portbev.nn.recompute import recomputed


class TransformerLayer(nn.Module):
    """:class:`torch.nn.TransformerDecoderLayer` with ReLU and ``norm_first=False``: the same arithmetic and keys."""

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(channels, heads, dropout)
        self.multihead_attn = MultiheadAttention(channels, heads, dropout)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout, self.dropout1, self.dropout2, self.dropout3 = (Dropout(dropout) for _ in range(4))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries (B,Q,C) and memory (B,K,C) to (B,Q,C)."""
        x = self.norm1(x + self.dropout1(self.self_attn(x, x, x)))
        x = self.norm2(x + self.dropout2(self.multihead_attn(x, memory, memory)))
        return self.norm3(x + self.dropout3(self.linear2(self.dropout(self.linear1(x).relu()))))


class Transformer(nn.Module):
    """:class:`torch.nn.Transformer` without encoder layers; of its encoder only the final normalisation is left.

    Keys ``encoder.norm``, ``decoder.layers.i`` and ``decoder.norm`` as there.

    Args:
        chunk: number of query tokens that are computed at once; larger batches are divided into parts of samples.
        checkpointing: whether the parts are computed again in the backward pass.
    """

    def __init__(
        self, channels: int, heads: int, hidden: int, layers: int, dropout: float, *, chunk: int, checkpointing: bool
    ) -> None:
        super().__init__()
        self.chunk, self.checkpointing = chunk, checkpointing
        stack = nn.ModuleList(TransformerLayer(channels, heads, hidden, dropout) for _ in range(layers))
        self.encoder = nn.ModuleDict({"norm": nn.LayerNorm(channels)})
        self.decoder = nn.ModuleDict({"layers": stack, "norm": nn.LayerNorm(channels)})
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Queries (B,Q,C) and memory (B,K,C) to (B,Q,C). Samples are independent of each other."""
        step = max(1, self.chunk // queries.shape[1])
        outputs = []
        for start in range(0, len(queries), step):
            inputs = (queries[start : start + step], memory[start : start + step], start, len(queries))
            outputs.append(recomputed(self._part, *inputs, owner=self) if self.checkpointing else self._part(*inputs))
        return torch.cat(outputs)

    def _part(self, x: Tensor, memory: Tensor, begin: int, total: int) -> Tensor:
        with dropout_rows(self, begin, total):
            memory = self.encoder["norm"](memory)
            for layer in self.decoder["layers"]:  # type: ignore[attr-defined]
                x = layer(x, memory)
            return self.decoder["norm"](x)
