"""Files of tensors that others wrote, read without executing anything in them.

:func:`portbev.tensorfiles.reading.read_file` reads every format that checkpoints come in.
:mod:`portbev.tensorfiles.unpickling` shows why no pickle can do more than build plain values.
"""
