"""Optimal brain damage: what the loss loses to second order."""

from collections.abc import Callable

from torch import Tensor, nn

from bayesprune.errors import NetworkError
from bayesprune.pruners.problem import Batch, Problem, check_finite
from bayesprune.pruners.saliency.diagonal import exact_diagonal
from bayesprune.tasks import Likelihood

Diagonal = Callable[[nn.Module, Batch, Likelihood], dict[str, Tensor]]
"""The Hessian's diagonal for the mean loss of a batch, by parameter name and shaped like the weights."""


def obd(problem: Problem, diagonal: Diagonal = exact_diagonal, examples: int = 1000) -> dict[str, Tensor]:
    """h w^2 / 2 with h the second derivative of the mean loss by the weight w (LeCun et al. 1990).

    To second order and without mixed derivatives it is how much the loss of a converged network grows when the weight
    is removed. It can be negative; such weights go first. The network is in evaluation mode: without dropout, and with
    BatchNorm's running statistics.

    Args:
        problem: the network and the data.
        diagonal: `exact_diagonal`, or `hutchinson_diagonal` with as many draws as wanted.
        examples: training examples in the batch; all of them where there are no more.

    Raises:
        DataError: all examples have one class.
        NetworkError: weights, gradients or scores are not finite (names the layer), or the exact diagonal of
            this network takes too long; or the loss has no curvature.
    """
    weights = problem.weights()
    batch = problem.labelled(examples)
    with problem.scoring() as network:
        network.eval()
        curvature = diagonal(network, batch, problem.likelihood)
    if not any(bool(one.any()) for one in curvature.values()):
        raise NetworkError(
            "obd scores weights by the loss's second derivative, and that is 0 for every weight, as it is of an "
            "absolute error: take a score by the first derivative, such as 'snip', or 'magnitude'"
        )
    scores = {name: curvature[name] * weight.detach().square() / 2 for name, weight in weights.items()}
    check_finite("scores", scores)
    return scores
