"""Only ``tox -e vendor`` runs this folder: it asks the package index for about 95 MB, once."""

from __future__ import annotations

from vendor_read import folder

if folder() is None:
    collect_ignore_glob = ["test_*.py"]
