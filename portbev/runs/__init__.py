"""A run directory: its record, scalars, checkpoints and weights."""
