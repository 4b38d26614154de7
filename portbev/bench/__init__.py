"""``portbev bench``: how fast operators and steps are here, beside other implementations and the device's limits.

What is measured comes from the models themselves: each is built, traced on tensors without values, and the calls of
operators that it makes are the cases (:mod:`portbev.bench.cases`). Model families bring batches for it by the hook
``portbev_bench_models``; other libraries' forms of an operator come by the hook ``portbev_peers``.
"""
