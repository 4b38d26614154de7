"""Recording what a step computes: the live side of the dumps that :mod:`portbev.parity.dumps` reads and compares.

``recorder`` turns tensors into records, ``calls`` and ``modules`` tell it what operators and modules compute, ``watch``
follows a training step, ``moved`` moves a step by one unit in the last place, ``step`` puts a recorded step together,
``dump`` writes one. ``seeds`` and ``controls`` make whole runs (by ``training``) for reports and curves.
"""
