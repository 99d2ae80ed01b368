"""A step that estimates nothing of the gates."""

from torch import Tensor

from bayesprune.inference.estimators.base import GateProblem, draw_sets, negative_log_likelihood


class WithoutEstimate:
    """The loss under sampled gates for the weights alone; theta gets no gradient from the data.

    It fills the steps between two estimates (`GatedObjective(estimate_every=k)`), in which the gates go on by their
    moving average.
    """

    name, unbiased = "without", False

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """Mean negative log-likelihood under gates drawn for each example."""
        return negative_log_likelihood(problem, draw_sets(problem, theta)).mean()
