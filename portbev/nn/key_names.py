"""A model's keys under the names of the original implementation's checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from portbev.nn.pretrained import fit_state

TRANSFORMER_LAYERS = (
    (r"\.self_attention\.", ".attentions.0.attn."),
    (r"\.cross_attention\.", ".attentions.1."),
    (r"\.feed_forward\.", ".ffns.0."),
)
"""Inside a transformer's layer: our names and those of mmcv's BaseTransformerLayer."""


class KeyNames:
    """Renames keys by regular expressions.

    Args:
        prefixes: our pattern and the original's replacement; the first that fits counts. A key that none fits keeps
            its name.
        layers: patterns and replacements inside the keys of encoders and decoders; all that fit count.
    """

    def __init__(self, prefixes: Sequence[tuple[str, str]], layers: Sequence[tuple[str, str]] = ()) -> None:
        self._prefixes, self._layers = tuple(prefixes), tuple(layers)

    def official(self, key: str) -> str:
        """The original's name of one of our keys."""
        if key.startswith(("encoder.", "decoder.")):
            for pattern, replacement in self._layers:
                key = re.sub(pattern, replacement, key, count=1)
        for pattern, replacement in self._prefixes:
            renamed, count = re.subn(pattern, replacement, key, count=1)
            if count:
                return renamed
        return key

    def fit(self, checkpoint: Mapping[str, Any], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
        """Weights of an official checkpoint (or of one written by :meth:`export`) for ``model``, and notes on it.

        Taken are a mapping with ``state_dict`` or the weights alone, with or without ``module.``; where an average of
        the weights is there too, it is what is read (see :func:`portbev.nn.pretrained.fit_state`).

        Raises:
            CheckpointError: no weights in it; missing, unexpected or misshaped keys, listed.
        """
        return fit_state(checkpoint, model, names={self.official(key): key for key in model.state_dict()})

    def export(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """A checkpoint that the original implementation's loaders understand."""
        state = model.state_dict()
        return {"state_dict": {self.official(key): value.detach().cpu() for key, value in state.items()}}
