"""Which of mx_driving's operators a chip has.

``hasattr(mx_driving, name)`` is true on every chip: what runs is said by the wheel's ``aic-<soc>-ops-info.json``.
"""

from __future__ import annotations

import re

import torch

_INFERENCE = frozenset({"multi_scale_deformable_attn", "bev_pool_v3", "bev_pool_v3_backward"})
"""What the wheel has for the 310P of everything that portbev asks for."""

_CHIPS: tuple[tuple[str, frozenset[str] | None], ...] = (  # the first pattern found in the name decides; None: all
    (r"Ascend310P", _INFERENCE),
    (r"Ascend910B\d|Ascend910_9[35]|Ascend950", None),  # A2, A3, A5
    (r"Ascend\d", frozenset()),
)


def chip_name() -> str:
    """The first device's name as torch_npu says it, or "" where none answers."""
    try:
        return str(torch.npu.get_device_name(0))  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError, AssertionError):
        return ""


def chip_lacks(operator: str, chip: str | None = None) -> str | None:
    """None if ``chip`` (the device's, if None) has mx_driving's ``operator``, else the reason. An unknown name is no
    reason."""
    name = chip_name() if chip is None else chip
    for pattern, has in _CHIPS:
        if re.search(pattern, name):
            return None if has is None or operator in has else f"mx_driving has no {operator} for {name}"
    return None
