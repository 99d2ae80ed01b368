"""GraSP: the score that keeps the gradient large."""

from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.pruners.problem import Problem, check_finite
from bayesprune.pruners.saliency.gradients import balanced, gradients, times_weights
from bayesprune.structure.modes import twice_differentiable


def grasp(problem: Problem, per_class: int = 10, temperature: float = 200.0) -> dict[str, Tensor]:
    """W (H g): to first order, half of what the squared gradient norm loses when a weight is removed.

    Wang et al., *Picking Winning Tickets Before Training by Preserving Gradient Flow* (arXiv 2002.07376)
    remove the weights with the largest -w (H g), which are the smallest here. Gradient g and Hessian H are those of the
    mean loss of logits / temperature by the weights of linear and convolution layers alone, as in the
    authors' code; H g is one double backward through z = <g held constant, g>. Weights that are pruned already have no
    part in the gradient's norm. BatchNorm uses the batch's statistics.

    Args:
        problem: the network and the data.
        per_class: training examples of each class; of a smaller class all there are. For tasks without classes so many
            examples for each output.
        temperature: what logits are divided by; outputs that are no logits are not.

    Raises:
        SettingError: `temperature` is not a positive number, or `per_class` below 1.
        DataError: a class has no example.
        NetworkError: weights, gradients or scores are not finite; names the layer.
    """
    if not 0 < temperature < float("inf"):
        raise SettingError(f"temperature is {temperature}; logits are divided by it, so it must be a number above 0")
    weights = problem.weights()
    batch = balanced(problem, per_class)
    with problem.scoring() as network, twice_differentiable():
        slopes = gradients(problem.loss(network, batch, _used(temperature, problem)), weights, create_graph=True)
        constant = {name: slope.detach() * problem.masks.get(name, 1.0) for name, slope in slopes.items()}
        products = gradients(_inner(constant, slopes), weights)
    scores = times_weights(weights, products)
    check_finite("scores", scores)
    return scores


def _used(temperature: float, problem: Problem) -> float:
    """The temperature, for outputs that are logits; numbers that are predicted are not divided."""
    return temperature if problem.data.task.meaning_of_outputs == "logits" else 1.0


def _inner(left: dict[str, Tensor], right: dict[str, Tensor]) -> Tensor:
    """The inner product of two sets of tensors."""
    first, *others = [(left[name] * right[name]).sum() for name in left]
    for other in others:
        first = first + other
    return first
