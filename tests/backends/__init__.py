"""A package, so that pytest does not put this folder on ``sys.path``, where ``triton`` would pass for the library."""
