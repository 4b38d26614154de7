"""BEVDepth and MatrixVT."""
