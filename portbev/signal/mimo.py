"""DDM-MIMO: which Doppler bins belong to which transmitter, and the virtual array."""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.signal.description import RadarDescription


def transmitter_bins(first: Tensor, radar: RadarDescription) -> Tensor:
    """(..., transmitters) Doppler bins of all transmitters, given the ``first`` one's (...) int64."""
    offsets = torch.tensor(radar.slots, device=first.device) - radar.slots[0]
    return (first[..., None] + offsets * radar.reduced_doppler) % radar.chirps


def first_transmitter_slot(levels: Tensor, radar: RadarDescription) -> Tensor:
    """(n,) int64 slot of the first transmitter, for ``levels`` (n, doppler_slots): the amplitudes in a hit's slots.

    The slots that no transmitter uses are the quietest: the first transmitter's slot is the one behind which they have
    the lowest mean.
    """
    slots = torch.arange(radar.doppler_slots, device=levels.device)
    behind = torch.tensor(radar.empty_slots, device=levels.device)
    return levels[:, (slots[:, None] + behind) % radar.doppler_slots].mean(-1).argmin(1)


def virtual_array(rd: Tensor, frames: Tensor, ranges: Tensor, first: Tensor, radar: RadarDescription) -> Tensor:
    """(n,V) complex values of the virtual elements (transmitter * receivers + receiver).

    Args:
        rd: (B,S,C,A) complex range-Doppler spectrum.
        frames, ranges, first: (n,) int64 frame, range bin and the first transmitter's Doppler bin.
        radar: the array.
    """
    bins = transmitter_bins(first, radar)
    planes = torch.view_as_real(rd)[frames[:, None], ranges[:, None], bins]  # (n, transmitters, A, 2)
    return torch.view_as_complex(planes.flatten(1, 2).contiguous())
