"""Data sets that are generated on first use: their options, data roots, and generation in several processes."""
