"""Tangent kernels, and the transfer of a dense network's kernel to a sparse one (arXiv 2006.08228)."""
