"""Memory that nobody has written yet leaves no trace in a record."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portbev.parity.dumps.record import Record
from portbev.recording.calls import OperatorCalls
from portbev.recording.modules import watched_modules
from portbev.recording.recorder import Recorder


class _Kept:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, record: Record) -> None:
        self.records.append(record)

    def add_tensor(self, record: Record, tensor: Tensor) -> str:
        return ""


class _InPieces(nn.Module):
    """Fills a buffer piece by piece; what it held before is ``chance``."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        out = torch.empty(3, 4)
        with torch.overrides._pop_mode_temporarily():
            out.fill_(self.chance)
        for row in range(3):
            out[row] = x * row
        return out


def recorded(chance: float) -> list[Record]:
    kept = _Kept()
    recorder = Recorder(kept)
    model = nn.Sequential(_InPieces(chance))
    with watched_modules(model, recorder, ""), OperatorCalls(recorder):
        recorder.listening = True
        model(torch.arange(4.0))
    recorder.flush()
    return kept.records


def test_a_buffer_that_is_filled_piece_by_piece_is_recorded_by_its_pieces_and_then_as_a_whole() -> None:
    one, other = recorded(1.0), recorded(7e30)
    assert [record.sketch for record in one] == [record.sketch for record in other]
    pieces = [r.sketch.shape for r in one if r.key.operator == "__setitem__" and r.sketch is not None]
    assert pieces == [(4,)] * 3
    (whole,) = {r.sketch.shape for r in one if r.key.module == "0" and not r.key.operator and r.sketch is not None}
    assert whole == (3, 4)
