"""Deterministic pruning: scores, allocations over layers, schedules, and the methods made of them."""
