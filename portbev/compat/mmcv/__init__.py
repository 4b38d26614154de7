"""``mmcv``'s deformable operators by portbev's, for code that is not to be changed.

After :func:`install`, or under ``python -m portbev.compat.mmcv script.py``, ``from mmcv.ops import DeformConv2dPack``
and its like give layers that compute with :mod:`portbev.ops` on any device: with mmcv-lite, with an mmcv whose compiled
operators do not load or lack the device, and without any mmcv. No installed file is edited.
"""

from __future__ import annotations

from portbev.compat.mmcv.install import Installed, install, uninstall

__all__ = ["Installed", "install", "uninstall"]
