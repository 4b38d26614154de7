"""The kernels themselves, functions of ``triton.jit``: the only modules that import Triton at their top.

They use what Triton 3.2 has (and triton-ascend with it).
"""
