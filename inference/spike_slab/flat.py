"""Spike-and-slab nodes whose inclusion is under the flattening hyper-prior, with Gaussian weights."""

from dataclasses import dataclass

from bayesprune.errors import UnknownNameError
from bayesprune.inference.estimators import DisARM, GateEstimator, SalientFlips, ScoreFunction, UniformFlips
from bayesprune.inference.flattened import Flattened
from bayesprune.inference.guides import GaussianWeightGuide
from bayesprune.inference.options import ParsimoniousOptions, Recipe
from bayesprune.inference.spike_slab.options import SMALL_DEVIATION
from bayesprune.inference.weight_laws import GaussianWeights, WeightLaw, travel_rate
from bayesprune.run.settings import check_number, check_type

COMPARING = (SalientFlips, UniformFlips, DisARM, ScoreFunction)
"""Estimators that compare losses: with the same weights in both, or their noise would be in the difference."""


@dataclass(frozen=True)
class SpikeSlabFlatOptions(ParsimoniousOptions):
    """The settings of spike-and-slab nodes under the flattening hyper-prior.

    Attributes:
        slab: standard deviation of the weights' prior; that of `SpikeSlabOptions`.
        deviation: standard deviation of every weight at the start.
        deviation_learning_rate: of the logarithms of the deviations; by default 70 over the steps of the pruning phase,
            but between 1e-3 and 0.05.
        means_first: whether the deviations stay as they are until the loss has fallen and is level, so that the network
            learns before its weights become noisy; false also lets gates begin before the loss has left a guess's.
        draws: of the weights: "example" for each example in linear layers, or "batch" for each mini-batch; by
            default "example" where the estimator looks at one prediction only, such as "curvature".
    """

    slab: float = 0.2
    deviation: float = SMALL_DEVIATION
    deviation_learning_rate: float | None = None
    draws: str | None = None
    means_first: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_type("deviation", self.deviation, int | float, "a number")
        check_number("deviation", self.deviation, 0.0)
        check_number("deviation_learning_rate", self.deviation_learning_rate, 0.0)
        check_type("means_first", self.means_first, bool, "true or false")
        check_type("draws", self.draws, str | None, "'example' or 'batch'")
        if self.draws not in (None, *GaussianWeightGuide.drawn_for):
            raise UnknownNameError("draws", str(self.draws), GaussianWeightGuide.drawn_for)

    @property
    def fixed_slab(self) -> float:
        """The plain means are trained on as those of `parsimonious` are: 0.2 would be six times its weight decay."""
        return ParsimoniousOptions.slab


class SpikeSlabFlat(Flattened):
    """Spike-and-slab nodes under the flattening hyper-prior.

        pi_j ~ FlatteningHyperPrior(gamma_j),  z_j | pi_j ~ Bernoulli(pi_j),  w ~ N(0, slab^2),  node j has z_j w_j;
        guide: z_j ~ Bernoulli(theta_j), w ~ N(mean, deviation^2), independent of z.

    The gates are learnt, removed and decided as those of `Parsimonious`; while they learn, the weights are drawn.
    What is trained on at fixed structure, and kept, are the means.
    """

    name = "spike-slab-flat"
    summary = "spike-and-slab nodes under the flattening hyper-prior, with Gaussian weights"
    options = SpikeSlabFlatOptions

    def weight_law(self, options: SpikeSlabFlatOptions, chosen: GateEstimator, recipe: Recipe) -> WeightLaw:
        """Gaussians around the network's parameters."""
        draws = options.draws or ("batch" if isinstance(chosen, COMPARING) else "example")
        usual = travel_rate(recipe.prune_steps)
        rate = options.deviation_learning_rate or usual
        return GaussianWeights(options.deviation, rate, draws, means_first=options.means_first)
