"""Complex radar tensors as real channels for networks."""

from __future__ import annotations

import torch
from torch import Tensor


def magnitude_phase(values: Tensor, *, phase_first: bool = False) -> Tensor:
    """(...,2A) real: channels 2a and 2a+1 are magnitude and phase [rad] of antenna a of ``values`` (...,A) complex.

    With ``phase_first`` the phase is channel 2a, as in EchoFusion's ADC samples.
    """
    parts = [values.angle(), values.abs()] if phase_first else [values.abs(), values.angle()]
    return torch.stack(parts, dim=-1).flatten(-2)


def real_imaginary(values: Tensor) -> Tensor:
    """(...,2A) real: channels 2a and 2a+1 are real and imaginary part of antenna a of ``values`` (...,A) complex."""
    return torch.view_as_real(values).flatten(-2)
