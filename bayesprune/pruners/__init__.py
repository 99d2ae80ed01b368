"""Deterministic pruning: scores, densities over layers, budgets, and the baselines made of them."""
