"""Operators of other libraries, which ``portbev bench ops`` times beside ours: torchvision, mmcv, deformops.

They are called as their own users call them, padded where they know no lists of different lengths. Nothing here serves
a model; kernels of these libraries that do are providers of a backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portbev.hookspecs import hookimpl

if TYPE_CHECKING:
    from portbev.bench.peers import Peer


@hookimpl
def portbev_peers() -> list[Peer]:
    """The forms that these libraries have of our operators."""
    from portbev_peers.libraries import PEERS

    return PEERS
