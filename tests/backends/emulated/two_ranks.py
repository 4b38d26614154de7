"""One of two processes of ``suite_distributed.py``: writes what it found to FOLDER/rankN.json."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from portbev.runtime import activate


def collectives(rank: int, device: torch.device) -> dict:
    """Each collective on small tensors."""
    mine = torch.full((2,), float(rank + 1), device=device)
    total, sent = mine.clone(), mine.clone()
    dist.all_reduce(total)
    dist.broadcast(sent, src=1)
    found = [torch.zeros_like(mine) for _ in range(2)]
    dist.all_gather(found, mine)
    part = torch.zeros(1, device=device)
    dist.reduce_scatter_tensor(part, mine)
    objects: list[object] = [None, None]
    dist.all_gather_object(objects, f"rank {rank}")
    try:
        dist.all_reduce(torch.ones(1))
        error = ""
    except RuntimeError as caught:
        error = str(caught)
    dist.barrier()
    return {
        "all_reduce": total.tolist(),
        "broadcast": sent.tolist(),
        "all_gather": [one.tolist() for one in found],
        "reduce_scatter": part.tolist(),
        "objects": objects,
        "host_error": error,
    }


def data_parallel(rank: int, device: torch.device) -> dict:
    """Two SGD steps of a DDP model, and of the same model on both ranks' data in one process."""
    torch.manual_seed(0)
    model, whole = nn.Linear(3, 2), nn.Linear(3, 2)
    whole.load_state_dict(model.state_dict())
    data = torch.randn(2, 4, 3)
    parallel = nn.parallel.DistributedDataParallel(model.to(device), device_ids=[0])
    optimizer = torch.optim.SGD(parallel.parameters(), lr=0.1)
    single = torch.optim.SGD(whole.parameters(), lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        parallel(data[step, rank * 2 : rank * 2 + 2].to(device)).square().mean().backward()
        optimizer.step()
        single.zero_grad()
        whole(data[step]).square().mean().backward()
        single.step()
    return {"weights": model.weight.flatten().tolist(), "expected_weights": whole.weight.flatten().tolist()}


def sync_batch_norm(rank: int, device: torch.device) -> dict:
    """SyncBatchNorm on halves against BatchNorm on the whole, with unequal halves."""
    torch.manual_seed(1)
    data, weights = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    mine = slice(0, 2) if rank == 0 else slice(2, 5)
    plain, sync = nn.BatchNorm2d(3), nn.SyncBatchNorm(3).to(device)
    inputs = data.clone().requires_grad_()
    expected = plain(inputs)
    (grad,) = torch.autograd.grad((expected * weights).sum(), inputs)
    there = data[mine].to(device).requires_grad_()
    found = sync(there)
    (found_grad,) = torch.autograd.grad((found * weights[mine].to(device)).sum(), there)

    def error(a: Tensor, b: Tensor) -> float:
        return float((a.detach().cpu() - b.detach()).abs().max())

    running = max(error(sync.running_mean, plain.running_mean), error(sync.running_var, plain.running_var))
    return {
        "sync_output_error": error(found, expected[mine]),
        "sync_grad_error": error(found_grad, grad[mine]),
        "running_error": running,
    }


def main(folder: Path) -> None:
    rank = int(os.environ["RANK"])
    backend = activate("npu", emulate=True)
    device = backend.device()
    dist.init_process_group(backend.collective, init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {"backend": dist.get_backend(), "device": str(device)}
    found |= collectives(rank, device) | data_parallel(rank, device) | sync_batch_norm(rank, device)
    dist.destroy_process_group()
    dist.init_process_group("cpu:gloo,npu:hccl", init_method=f"file://{folder}/mixed", rank=rank, world_size=2)
    mixed = torch.ones(1)
    dist.all_reduce(mixed)
    found["mixed"] = mixed.tolist()
    dist.destroy_process_group()
    (folder / f"rank{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
