"""The study of spike-and-slab nodes and their Bayesian relatives."""
