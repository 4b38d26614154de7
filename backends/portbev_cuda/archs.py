"""Which GPUs the binaries of a torch run on."""

from __future__ import annotations


def serves(arch: str, capability: tuple[int, int]) -> bool:
    """Whether ``arch`` (``sm_90a``, ``compute_90``) runs on a GPU of this compute capability.

    Binary kernels run on the same major version from their minor on; PTX on anything newer.
    """
    kind, _, text = arch.partition("_")
    digits = "".join(c for c in text if c.isdigit())
    if not digits:
        return False
    major, minor = int(digits[:-1]), int(digits[-1])
    if kind == "compute":
        return capability >= (major, minor)
    return capability[0] == major and capability[1] >= minor
