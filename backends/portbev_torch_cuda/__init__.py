"""What the devices that torch calls ``cuda`` have in common, whoever made them.

torch keeps CUDA's names for AMD's GPUs too: ``torch.cuda``, ``torch.backends.cudnn`` (there MIOpen), the collectives
``nccl`` (there RCCL). The backends ``cuda`` and ``rocm`` derive from :class:`portbev_torch_cuda.backend.GpuBackend`
and know nothing of each other. This package is no plugin: it offers no device of its own.
"""
