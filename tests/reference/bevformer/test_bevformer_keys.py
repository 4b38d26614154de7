"""The state of the official sizes has the keys, shapes, dtypes and frozen parameters of the original's modules."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from portbev.config import load_config
from portbev_bevformer.checkpoint import export_state, import_state, official_name
from portbev_bevformer.model import BEVFormer

pytestmark = pytest.mark.reference


def official(name: str) -> list[dict[str, Any]]:
    """The recorded entries of one size."""
    root = os.environ.get("PORTBEV_REFERENCE_DIR")
    path = Path(root or "") / "bevformer" / f"keys_{name}.json"
    if root is None or not path.is_file():
        pytest.skip(f"no $PORTBEV_REFERENCE_DIR/bevformer/keys_{name}.json")
    entries: list[dict[str, Any]] = json.loads(path.read_text())["entries"]
    return entries


@pytest.mark.parametrize("name", ["tiny", "small", "base"])
def test_exported_keys_are_the_official_ones_and_import_is_the_identity(name: str) -> None:
    entries = official(name)
    model = BEVFormer(load_config(f"bevformer/{name}").model)
    exported = export_state(model)["state_dict"]
    ours = {key: (list(w.shape), str(w.dtype).removeprefix("torch.")) for key, w in exported.items()}
    assert ours == {entry["name"]: (entry["shape"], entry["dtype"]) for entry in entries}
    trains = {official_name(key) for key, p in model.named_parameters() if p.requires_grad}
    assert trains == {entry["name"] for entry in entries if entry["requires_grad"]}
    back = import_state({"state_dict": exported}, model).state
    own = model.state_dict()
    assert back.keys() == own.keys() and all(torch.equal(back[key], own[key]) for key in own)
