"""Memory to work in that many tensors' sketches use in turn: new memory costs more than what is done in it."""

from __future__ import annotations

import torch
from torch import Tensor


class Room:
    """A buffer for each dtype and device. One sketch at a time may work in it."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def of(self, most: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """(count,), not set to anything.

        Args:
            most: elements that will ever be asked for in this dtype.
        """
        found = self._buffers.get((dtype, device))
        if found is None:
            found = self._buffers[dtype, device] = torch.empty(most, dtype=dtype, device=device)
        return found[:count]
