"""Faults to plant: what a port gets wrong, each in one backend, with what evidence must say of it.

``with planted("mask_ignored"): ...`` offers the backend ``faulty`` in this process; the module ``faults.plugin`` offers
it in another one, where ``PORTBEV_FAULT`` names the fault and an entry point of group ``portbev`` the module.
"""

from faults.catalogue import FAULTS
from faults.fault import Fault, FaultyBackend, planted

__all__ = ["FAULTS", "Fault", "FaultyBackend", "planted"]
