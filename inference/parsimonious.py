"""The parsimonious method: Bernoulli gates under the flattening hyper-prior, weights a point."""

from bayesprune.inference.estimators import GateEstimator
from bayesprune.inference.flattened import Flattened
from bayesprune.inference.options import ParsimoniousOptions, Recipe
from bayesprune.inference.weight_laws import PointWeights, WeightLaw


class Parsimonious(Flattened):
    """The central method: Bernoulli gates, flattening hyper-prior, shrinking, then training at fixed structure."""

    name = "parsimonious"
    summary = "Bernoulli gates under the flattening hyper-prior, learnt with the weights"
    options = ParsimoniousOptions

    def weight_law(self, options: ParsimoniousOptions, chosen: GateEstimator, recipe: Recipe) -> WeightLaw:
        """The weights are a point."""
        return PointWeights()
