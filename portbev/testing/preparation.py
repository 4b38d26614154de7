"""Conformance: the process and the model are prepared as the section ``compute`` asks, or the user is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from portbev.backend import Backend
from portbev.config.schema import ComputeSection
from portbev.nn.map_format import ImagePath
from portbev.opscheck.small import tensor
from portbev.testing.base import Conformance


class Pictures(ImagePath, nn.Module):
    """A model with an image path; the same weights every time."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, stride=2))

    def forward(self, images: Tensor) -> Tensor:
        """(N,3,H,W) to (N,4,H',W')."""
        return self.layers(self.arrange(images))


class PreparationConformance(Conformance):
    """:meth:`Backend.prepare_host` and :meth:`Backend.prepare_model`.

    Keeping freed memory cannot be taken back, so it is asked for only where it is to be refused.
    """

    @pytest.fixture(autouse=True)
    def same_threads(self) -> Iterator[None]:
        """torch's CPU threads stay as they were for the tests that follow."""
        before = torch.get_num_threads()
        yield
        torch.set_num_threads(before)

    def test_own_settings_are_keys_of_compute(self, backend: Backend) -> None:
        assert set(backend.own_settings) <= set(ComputeSection.model_fields)

    def test_threads_are_set_where_asked_for(self, backend: Backend) -> None:
        for _ in range(2):
            assert backend.prepare_host(ComputeSection(threads=2)) == []
            assert torch.get_num_threads() == 2
        assert backend.prepare_host(ComputeSection()) == []
        assert torch.get_num_threads() == 2

    def test_keeping_freed_memory_is_done_or_told(self, backend: Backend) -> None:
        if "keep_freed_memory" in backend.own_settings:
            pytest.skip("the backend does it, and it would last until the process ends")
        (note,) = backend.prepare_host(ComputeSection(keep_freed_memory=True))
        assert note.startswith("compute.keep_freed_memory")

    def test_a_model_is_left_alone_where_nothing_is_asked_for(self, backend: Backend) -> None:
        model = Pictures()
        assert backend.prepare_model(model, ComputeSection()) == []
        assert model.map_format == torch.contiguous_format
        assert [type(layer) for layer in model.layers] == [nn.Conv2d, nn.ReLU, nn.Conv2d]

    def test_memory_format_changes_rounding_only(self, backend: Backend) -> None:
        images, found = tensor(3, 2, 3, 9, 8).to(backend.device()), []
        for memory_format in ("contiguous", "channels_last"):
            model = Pictures()
            for _ in range(2):
                notes = backend.prepare_model(model, ComputeSection(memory_format=memory_format))
                assert notes == []
            model.to(backend.device())(images).square().sum().backward()
            found.append([model(images).detach().cpu(), *(p.grad.cpu() for p in model.parameters())])  # type: ignore[union-attr]
            last = model.arrange(images).is_contiguous(memory_format=torch.channels_last)
            assert last == (memory_format == "channels_last")
        for plain, other in zip(*found, strict=True):
            torch.testing.assert_close(other, plain, rtol=1e-3, atol=1e-3)

    def test_a_model_without_image_path_is_told(self, backend: Backend) -> None:
        (note,) = backend.prepare_model(nn.Linear(2, 2), ComputeSection(memory_format="channels_last"))
        assert note.startswith("compute.memory_format")

    def test_weight_gradients_are_changed_or_told(self, backend: Backend) -> None:
        model = Pictures()
        asked = ComputeSection(memory_format="channels_last", weight_gradients="avx2")
        names, notes = list(model.state_dict()), backend.prepare_model(model, asked)
        assert backend.prepare_model(model, asked) == notes
        assert list(model.state_dict()) == names
        told = any(note.startswith("compute.weight_gradients") for note in notes)
        assert told != ("weight_gradients" in backend.own_settings)
