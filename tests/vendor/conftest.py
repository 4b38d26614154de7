"""What was read in the wheels is held against our own sources by every run; the wheels themselves, 1.3 GB, by
``tox -e vendor`` and ``tox -e vendor-gpu``, which say where downloads are kept."""

from __future__ import annotations

from vendor_read import folder

if folder() is None:
    collect_ignore_glob = ["test_vendor_wheels*.py", "test_vendor_refusals.py"]
