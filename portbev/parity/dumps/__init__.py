"""Dumps of a step: sketches of all that was computed, their files, and what two of them say of two devices."""
