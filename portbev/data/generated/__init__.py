"""Data sets that are generated on first use: growing, parts made by several processes, and roots that ask for them."""
