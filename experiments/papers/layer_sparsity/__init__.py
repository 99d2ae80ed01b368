"""The study of layer sparsity."""
