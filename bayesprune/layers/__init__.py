"""Layer sparsity: layers that act linearly go into the layers behind them (Hebiri and Lederer, arXiv 2006.15604)."""

from bayesprune.layers.collapse import collapse, replay
from bayesprune.layers.find import Candidate, Layers, find_layers
from bayesprune.layers.linear import LinearChain, composed, why_not_one
from bayesprune.layers.signs import active_layers, inactive, negative_norms, penalty, strengths_of

__all__ = [
    "Candidate",
    "Layers",
    "LinearChain",
    "active_layers",
    "collapse",
    "composed",
    "find_layers",
    "inactive",
    "negative_norms",
    "penalty",
    "replay",
    "strengths_of",
    "why_not_one",
]
