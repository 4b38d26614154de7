"""From two dumps of a step to a named cause: what the files alone can say of it.

:mod:`portbev.recording.bisect` adds what a device at hand can say.
"""
