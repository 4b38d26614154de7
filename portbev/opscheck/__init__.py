"""``portbev parity ops``: is a device's error at each operator the rounding of its dtype, or a fault?

Every provider of every operator of :mod:`portbev.ops`, and every function of torch that the models call, is held
against its definition in float64 on the host, forward and each gradient, per dtype. docs/parity-ops.md has the method.

Files: ``subject`` (what is judged), ``portable`` and ``small`` and ``smaller`` (calls of portable operators),
``calls``, ``traced``, ``fill`` and ``shrink`` (calls of torch's functions), ``rounding`` (the size of rounding),
``judging`` (an error against it), ``bias``, ``edges`` (bilinear cells), ``guesses`` (what a fault looks like),
``checking`` (one subject on a device), ``running`` (all of them), ``document``, ``table``.
"""
