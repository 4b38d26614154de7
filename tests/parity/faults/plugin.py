"""The plugin of the backend ``faulty`` for a process of its own: ``PORTBEV_FAULT`` names the fault."""

from __future__ import annotations

import os
from contextlib import ExitStack

from faults.catalogue import FAULTS
from faults.fault import FaultyPlugin

_fault = FAULTS[os.environ["PORTBEV_FAULT"]]
_process = ExitStack()
_process.enter_context(_fault.around())
_plugin = FaultyPlugin(_fault)
portbev_backends, portbev_kernels = _plugin.portbev_backends, _plugin.portbev_kernels
