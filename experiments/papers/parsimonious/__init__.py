"""Parsimonious networks: Bernoulli gates under the flattening hyper-prior, on LeNet-300-100 and LeNet-5."""
