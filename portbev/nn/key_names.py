"""A model's keys under the names of the original implementation's checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from portbev.nn.pretrained import Imported, fit_state

TRANSFORMER_LAYERS = (
    (r"\.self_attention\.", ".attentions.0.attn."),
    (r"\.cross_attention\.", ".attentions.1."),
    (r"\.feed_forward\.", ".ffns.0."),
)
"""Inside a transformer layer: patterns of our names, and the names of mmcv's BaseTransformerLayer."""


class KeyNames:
    """Translates a model's keys to the names of official checkpoints, by regular expressions.

    Args:
        prefixes: (pattern of our name, replacement); the first pattern that matches is replaced. A key that no pattern
            matches keeps its name.
        layers: (pattern, replacement) for the keys below ``encoder.`` and ``decoder.``; every match is replaced, before
            the prefixes.
    """

    def __init__(self, prefixes: Sequence[tuple[str, str]], layers: Sequence[tuple[str, str]] = ()) -> None:
        self._prefixes, self._layers = tuple(prefixes), tuple(layers)

    def official_name(self, key: str) -> str:
        """The original's name of one of our keys."""
        if key.startswith(("encoder.", "decoder.")):
            for pattern, replacement in self._layers:
                key = re.sub(pattern, replacement, key, count=1)
        for pattern, replacement in self._prefixes:
            renamed, count = re.subn(pattern, replacement, key, count=1)
            if count:
                return renamed
        return key

    def import_state(self, checkpoint: Mapping[str, Any], model: nn.Module, *, partial: bool = False) -> Imported:
        """Weights of an official checkpoint, or of one that :meth:`export_state` wrote, for ``model``.

        The checkpoint is a mapping with ``state_dict``, the weights alone, or any nesting of them. If it also holds a
        moving average of the weights, the average is read (see :func:`portbev.nn.pretrained.fit_state`).

        Args:
            partial: take what fits, and note what does not.

        Raises:
            CheckpointError: no weights in it; or, unless ``partial``, missing, unexpected or misshaped keys, listed.
        """
        names = {self.official_name(key): key for key in model.state_dict()}
        return fit_state(checkpoint, model, names=names, partial=partial)

    def export_state(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """A checkpoint that the original implementation's loaders can read."""
        state = model.state_dict()
        return {"state_dict": {self.official_name(key): value.detach().cpu() for key, value in state.items()}}
