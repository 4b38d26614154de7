"""State keys, shapes, dtypes and frozen parameters of the four variants against the original implementation's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.model import BEVDepth

pytestmark = pytest.mark.reference
VARIANTS = {
    "bevdepth_1key": BevDepthConfig(),
    "bevdepth_2key": BevDepthConfig(key_frames=2),
    "bevdepth_2key_da": BevDepthConfig(key_frames=2, depth_aggregation=True),
    "matrixvt_1key": BevDepthConfig(variant="matrixvt"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_is_the_originals(bevdepth_case: Path, variant: str) -> None:
    path = bevdepth_case / "state_dicts.json"
    if not path.is_file():
        pytest.skip("the case has no state_dicts.json")
    recorded = json.loads(path.read_text())
    with torch.device("meta"):
        model = BEVDepth(VARIANTS[variant])
    ours = {k: [list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in model.state_dict().items()}
    assert ours == recorded[variant]
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == recorded[f"{variant}__params_requires_grad_false"]
