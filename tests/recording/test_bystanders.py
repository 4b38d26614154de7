"""A recorded step leaves the collector, and the memory of tensors that are gone, as it found them."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from portbev.recording.bystanders import old_objects_left_alone
from portbev.recording.identity import Identities


class Node:
    def __init__(self) -> None:
        self.itself = self


def failing_step(seen: list[bool]) -> None:
    with old_objects_left_alone():
        seen.append(gc.get_freeze_count() > 0)
        new = weakref.ref(Node())
        gc.collect()
        seen.append(new() is None)
        raise ValueError("a step fails")


def test_garbage_of_a_step_is_collected_and_old_objects_are_again_after_it() -> None:
    old, seen = Node(), list[bool]()
    gone = weakref.ref(old)
    with pytest.raises(ValueError, match="a step fails"):
        failing_step(seen)
    assert seen == [True, True]
    assert gc.get_freeze_count() == 0
    del old
    gc.collect()
    assert gone() is None


def test_memory_that_is_gone_is_not_taken_for_that_of_a_new_tensor() -> None:
    known = Identities()
    for n in range(200):  # the allocator gives the same places again and again
        tensor = torch.full((64,), float(n))
        assert known.of(tensor) is None
        known.put(tensor, n)
        assert known.of(tensor.view(8, 8)) == n
        del tensor


def test_a_view_is_known_while_the_tensor_itself_is_gone() -> None:
    known = Identities()
    tensor = torch.zeros(64)
    known.put(tensor, 5)
    view = tensor.view(8, 8)
    del tensor
    gc.collect()
    assert known.of(view) == 5
