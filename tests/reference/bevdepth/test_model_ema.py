"""The average of the weights follows the original's recorded traces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from portbev.config.schema import EmaSection
from portbev.train.ema import Ema

pytestmark = pytest.mark.reference
# the recorded model: a 2 x 2 weight that begins at 1, 2, 3, 4 and gains 1 before each update, and two buffers of the
# same kind that begin at 0.5 and lose 0.25
WEIGHT, BUFFER, GAIN, LOSS = [[1.0, 2.0], [3.0, 4.0]], [0.5, 0.5], 1.0, 0.25


class Recorded(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(WEIGHT))
        self.register_buffer("buffer", torch.tensor(BUFFER))


def test_average_equals_the_recorded_traces_to_the_bit(bevdepth_case: Path) -> None:
    path = bevdepth_case / "datapipe.json"
    if not path.is_file():
        pytest.skip(f"{bevdepth_case.name} has no datapipe.json")
    traces = {key: rows for key, rows in json.loads(path.read_text()).items() if key.startswith("ema_updates0=")}
    if not traces:
        pytest.skip(f"{bevdepth_case.name} has no EMA traces")
    for key, rows in traces.items():
        model = Recorded()
        ema = Ema(model, EmaSection(), int(key.partition("=")[2]))
        for number, expected in enumerate(rows):
            with torch.no_grad():
                model.weight += GAIN
                model.buffer -= LOSS
            ema.update(model)
            found = [*ema.state["weight"].flatten().tolist(), *ema.state["buffer"].tolist()]
            assert found == expected, f"{key}, update {number + 1}"
