"""Published figures of accuracy predicted from structure (tables released with arXiv 2107.12917)."""

from collections.abc import Mapping

R_SQUARED: Mapping[str, Mapping[str, float]] = {
    "tanh": {"bayesian-ridge": 0.4792, "random-forest": 0.4316, "adaboost": 0.3570},
    "ReLU": {"bayesian-ridge": 0.3608, "random-forest": 0.6150, "adaboost": 0.5347},
    "GRU": {"bayesian-ridge": 0.6722, "random-forest": 0.8764, "adaboost": 0.7831},
    "LSTM": {"bayesian-ridge": 0.3721, "random-forest": 0.5793, "adaboost": 0.5951},
}
"""On the 20 test rows, by cell and regressor. Forest and AdaBoost had no seed."""

_ROWS = {
    "layers": (0.25, 0.30, 0.28, 0.34),
    "nodes": (0.40, 0.44, 0.44, 0.49),
    "edges": (0.38, 0.43, 0.42, 0.49),
    "source_nodes": (0.35, 0.47, 0.57, 0.74),
    "diameter": (-0.23, -0.27, -0.32, -0.20),
    "density": (0.29, 0.15, 0.29, 0.34),
    "average_shortest_path_length": (-0.27, -0.25, -0.36, -0.23),
    "eccentricity_var": (-0.22, -0.24, -0.30, -0.21),
    "degree_var": (-0.28, -0.26, -0.39, -0.58),
    "closeness_var": (-0.46, -0.39, -0.51, -0.67),
    "nodes_betweenness_var": (-0.49, -0.41, -0.56, -0.52),
    "edge_betweenness_var": (-0.34, -0.30, -0.44, -0.26),
}
CORRELATIONS: Mapping[str, Mapping[str, float]] = {
    name: dict(zip(("tanh", "ReLU", "LSTM", "GRU"), values, strict=True)) for name, values in _ROWS.items()
}
"""Pearson correlations with test accuracy, by property and cell, to two digits."""

OUTCOMES: Mapping[str, Mapping[str, float]] = {
    cell: dict(zip(("barabasi-albert", "watts-strogatz", "good", "chance"), values, strict=True))
    for cell, values in {
        "tanh": (0.842, 0.893, 0.19, 0.075),
        "ReLU": (0.728, 0.829, 0.32, 0.35),
        "GRU": (0.928, 0.984, 0.66, 0.0),
        "LSTM": (0.915, 0.976, 0.63, 0.015),
    }.items()
}
"""Mean test accuracy by family, and shares of all networks above .95 ("good") and below .52 ("chance"), by cell."""
