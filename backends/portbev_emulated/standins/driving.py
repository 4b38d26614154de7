"""Stand-in for ``mx_driving`` (DrivingSDK): what is published, and what of its ``_C`` is called.

What the wheels compute wrong without a word is refused here, or comes out as wrong.
"""

from __future__ import annotations

from portbev_emulated.standins import attention, deform, pooling

FUNCTIONS: dict[str, object] = {**deform.FUNCTIONS, **attention.FUNCTIONS, **pooling.FUNCTIONS}
PRIVATE: dict[str, object] = {**attention.PRIVATE, **pooling.PRIVATE}
