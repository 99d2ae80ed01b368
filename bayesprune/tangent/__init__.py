"""Tangent kernels, and the transfer of a dense network's kernel to a sparse one (arXiv 2006.08228)."""

from bayesprune.tangent.kernels import contracted_kernel, tangent_kernel

__all__ = ["contracted_kernel", "tangent_kernel"]
