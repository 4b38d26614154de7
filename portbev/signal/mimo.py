"""DDM-MIMO: the Doppler bins of each transmitter, and the virtual array."""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.signal.description import RadarDescription


def transmitter_bins(first: Tensor, radar: RadarDescription) -> Tensor:
    """(..., transmitters) Doppler bins of all transmitters; ``first`` (...) int64 is the first transmitter's bin."""
    offsets = torch.tensor(radar.slots, device=first.device) - radar.slots[0]
    return (first[..., None] + offsets * radar.reduced_doppler) % radar.chirps


def first_transmitter_slot(amplitudes: Tensor, radar: RadarDescription) -> Tensor:
    """(n,) int64 slot of the first transmitter for ``amplitudes`` (n, doppler_slots), those of a detection's slots.

    The slots that no transmitter uses have the smallest amplitudes. They are known relative to the first transmitter's
    slot, which is the one that gives them the smallest mean.
    """
    slots = torch.arange(radar.doppler_slots, device=amplitudes.device)
    empty = torch.tensor(radar.empty_slots, device=amplitudes.device)
    return amplitudes[:, (slots[:, None] + empty) % radar.doppler_slots].mean(-1).argmin(1)


def virtual_array(rd: Tensor, frames: Tensor, ranges: Tensor, first: Tensor, radar: RadarDescription) -> Tensor:
    """(n,V) complex values of the virtual elements of each detection (transmitter * receivers + receiver).

    Args:
        rd: (B,S,C,A) complex range-Doppler spectrum.
        frames: (n,) int64 frame of each detection.
        ranges: (n,) int64 range bin.
        first: (n,) int64 Doppler bin of the first transmitter.
        radar: the radar.
    """
    bins = transmitter_bins(first, radar)
    planes = torch.view_as_real(rd)[frames[:, None], ranges[:, None], bins]  # (n, transmitters, A, 2)
    return torch.view_as_complex(planes.flatten(1, 2).contiguous())
