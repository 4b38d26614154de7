"""The BEV that an evaluation carries from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from portbev.errors import DataError


@dataclass
class Memory:
    """BEV (1,Q,C) of the last frame and its token; empty before the first one."""

    bev: Tensor | None = None
    token: str = ""

    def before(self, token: str, previous: str) -> Tensor | None:
        """The BEV that the frame ``token`` continues, None if it begins a scene.

        Raises:
            DataError: the frame continues another one than the last.
        """
        if not previous:
            return None
        if self.bev is None or previous != self.token:
            seen = f"the last one was {self.token}" if self.token else "none came before"
            raise DataError(
                f"frame {token} continues {previous}, but {seen}",
                cure="Give the frames of a scene in order of time, in one process",
            )
        return self.bev
