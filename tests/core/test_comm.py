"""A process alone needs no group."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from portbev.comm import Comm, join
from portbev.errors import PortbevError
from portbev_cpu.backend import CpuBackend


def test_one_process_makes_no_process_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join(CpuBackend()) as comm:
        assert not dist.is_initialized()
        assert (comm.rank, comm.size, comm.is_main) == (0, 1, True)
        comm.barrier()
        assert comm.mean(0.1) == 0.1
        assert comm.mean_vector([0.1, 2.0]) == [0.1, 2.0]
        assert comm.gather({"a": [1.5]}) == [{"a": [1.5]}]
        assert comm.broadcast("yes") == "yes"


def test_a_failure_of_the_main_process_is_raised_as_it_is() -> None:
    def fail() -> None:
        raise PortbevError("no room", where="disk")

    with pytest.raises(PortbevError, match="disk: no room"):
        Comm().on_main(fail)


def test_torchruns_variables_that_lead_nowhere_are_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PortbevError, match="cannot join 2 processes over gloo"), join(CpuBackend()):
        pass
