"""The settings of spike-and-slab nodes with a learnt scale each: group lasso and group horseshoe."""

from dataclasses import dataclass

from bayesprune.inference.spike_slab.options import SpikeSlabOptions
from bayesprune.run.settings import check_number, check_type


@dataclass(frozen=True)
class GroupSlabOptions(SpikeSlabOptions):
    """The settings of nodes with a learnt scale each.

    `slab` and `deviation` are those of the weights before they are multiplied by their node's scale.

    Attributes:
        scale_deviation: standard deviation of the logarithm of every part of a scale at the start; the public code's is
            softplus(-6) = 0.0025.
        scale_learning_rate: of the scales' means and of the logarithms of their deviations; by default 70 over the
            steps of the pruning phase, but between 1e-3 and 0.05.
    """

    scale_deviation: float = 0.05
    scale_learning_rate: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self._numbers():
            check_type(name, getattr(self, name), int | float, "a number")
            check_number(name, getattr(self, name), 0.0)
        check_number("scale_learning_rate", self.scale_learning_rate, 0.0)

    def _numbers(self) -> tuple[str, ...]:
        """Options that are numbers greater than 0."""
        return ("scale_deviation",)


@dataclass(frozen=True)
class GroupLassoOptions(GroupSlabOptions):
    """The settings of the group lasso slab.

    Attributes:
        penalty_shape, penalty_rate: of the Gamma prior of lambda^2, which all nodes share.
    """

    penalty_shape: float = 4.0
    penalty_rate: float = 2.0

    def _numbers(self) -> tuple[str, ...]:
        return (*super()._numbers(), "penalty_shape", "penalty_rate")


@dataclass(frozen=True)
class GroupHorseshoeOptions(GroupSlabOptions):
    """The settings of the regularised group horseshoe slab.

    Attributes:
        limit: c, what every scale is below.
        whole_scale: of the half-Cauchy prior of v, which all nodes share.
        node_scale: of the half-Cauchy prior of each node's tau.
    """

    limit: float = 1.0
    whole_scale: float = 1.0
    node_scale: float = 1.0

    def _numbers(self) -> tuple[str, ...]:
        return (*super()._numbers(), "limit", "whole_scale", "node_scale")
