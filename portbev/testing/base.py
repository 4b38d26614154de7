"""What the parts of the conformance suite share."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from portbev.backend import Backend
from portbev.runtime import activate


class Conformance:
    """Attributes of the suite and its fixtures; see :class:`portbev.testing.BackendConformance`."""

    backend_name: ClassVar[str] = ""
    emulate: ClassVar[bool] = False
    refused: ClassVar[dict[str, str]] = {}
    error_ratio: ClassVar[float] = 8.0

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend, activated at the highest precision and without asking for determinism."""
        return activate(self.backend_name, emulate=self.emulate)

    @pytest.fixture
    def device(self, backend: Backend) -> torch.device:
        return backend.device()
