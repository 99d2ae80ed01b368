"""Spike-and-slab nodes and weights: SS-IG, its flattened sister, slabs with scales, and gates of single weights."""
