from __future__ import annotations

import pytest
import torch

from portbev.nn.dilated_conv import DilatedConv2d


@pytest.mark.parametrize("size", [(16, 44), (8, 30), (40, 50)])
@pytest.mark.parametrize("dilation", [6, 12, 18])
def test_leaving_out_taps_in_the_padding_changes_nothing(size: tuple[int, int], dilation: int) -> None:
    whole = torch.nn.Conv2d(3, 3, 3, padding=dilation, dilation=dilation).double()
    conv = DilatedConv2d(3, 3, 3, padding=dilation, dilation=dilation).double()
    conv.load_state_dict(whole.state_dict())
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(conv(x), whole(x))


def test_taps_in_the_padding_are_left_out() -> None:
    conv = DilatedConv2d(3, 3, 3, padding=18, dilation=18)
    weight, padding = conv.live_taps(torch.empty(1, 3, 16, 44))
    assert (tuple(weight.shape), padding) == ((3, 3, 1, 3), [0, 18])
