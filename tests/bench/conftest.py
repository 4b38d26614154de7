"""What activating a backend changes in this process is undone after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from portbev.kernels import KERNELS


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    ranked, device = dict(KERNELS.ranked()), KERNELS._device_type
    enabled, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    threads = torch.get_num_threads()
    yield
    KERNELS.use(device, ranked)
    torch.use_deterministic_algorithms(enabled, warn_only=warn)
    torch.set_num_threads(threads)
