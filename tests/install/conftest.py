"""Resolving asks the package index: ``tox -e install`` alone does, which says where what it was told is kept."""

from __future__ import annotations

import os

if "PORTBEV_TEST_INSTALL" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
