"""Data parallelism: the model as each of several processes calls it."""

from __future__ import annotations

from torch import Tensor, nn

from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.models import DetectionModel


def wrapped(model: DetectionModel, config: RunConfig, comm: Comm) -> nn.Module:
    """What training calls: the model, in DDP with several processes. DDP leaves parameters without gradient out."""
    if comm.size == 1:
        return model
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dim() > 1 and 1 in parameter.shape:
            _keep_strides(parameter)
    return nn.parallel.DistributedDataParallel(model, find_unused_parameters=config.train.find_unused_parameters)


def _keep_strides(parameter: nn.Parameter) -> None:
    """Give every gradient of ``parameter`` the parameter's strides.

    Along an axis of one element any stride will do, and channels-last convolutions leave another one there. DDP
    compares strides: it would warn in each process, and copy where it could share.
    """
    shape, strides = parameter.shape, parameter.stride()

    def with_strides(grad: Tensor) -> Tensor:
        others = [size for size, one, other in zip(shape, strides, grad.stride(), strict=True) if one != other]
        return grad.as_strided(shape, strides) if others and max(others) == 1 else grad

    parameter.register_hook(with_strides)
