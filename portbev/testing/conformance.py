"""The conformance suite of a backend, put together."""

from __future__ import annotations

from portbev.testing.collectives import CollectiveConformance
from portbev.testing.interface import InterfaceConformance
from portbev.testing.operators import OperatorConformance
from portbev.testing.preparation import PreparationConformance
from portbev.testing.tensors import TensorConformance
from portbev.testing.training import TrainingConformance


class BackendConformance(
    InterfaceConformance,
    PreparationConformance,
    TensorConformance,
    TrainingConformance,
    OperatorConformance,
    CollectiveConformance,
):
    """Subclass it in a test module, set ``backend_name``, and let pytest collect it.

    Attributes:
        backend_name: what ``--backend`` takes.
        emulate: install the emulated device of that name first.
        refused: operator -> why this device cannot compute its reference, which must raise; other kernels are judged.
        error_ratio: how many times the reference kernel's own float32 error (against float64) a kernel may have.
    """
