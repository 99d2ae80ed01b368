"""Scores from first derivatives: SNIP, its label-free form on logits, and the Taylor expansion."""

from torch import Tensor, zeros_like

from bayesprune.batches import call
from bayesprune.errors import SettingError
from bayesprune.pruners.problem import Problem, check_finite
from bayesprune.pruners.saliency.gradients import gradients, times_weights


def snip(problem: Problem, examples: int = 100) -> dict[str, Tensor]:
    """|w dL/dw| with the mean loss L of one batch (SNIP, Lee et al., arXiv 1810.02340).

    It is |dL/dc| at c = 1 for a mask c that multiplies the weights. The paper's division by the sum over all weights
    changes no order and is left out. BatchNorm uses the batch's statistics.

    Raises:
        DataError: all examples have one class.
        NetworkError: weights, gradients or scores are not finite; names the layer.
    """
    return _magnitudes(_loss_change(problem, examples))


def logit_snip(problem: Problem, examples: int = 100) -> dict[str, Tensor]:
    """|w dF/dw| with F the sum of the squared logits of one batch, summed over examples and classes; no labels.

    Tangent transfer's label-free form of SNIP (Liu and Zenke, arXiv 2006.08228).

    Raises:
        NetworkError: weights, gradients or scores are not finite; names the layer.
    """
    weights = problem.weights()
    inputs, _ = problem.examples(examples)
    with problem.scoring() as network:
        slopes = gradients(call(network, inputs).square().sum(), weights)
    return _magnitudes(times_weights(weights, slopes))


def taylor(problem: Problem, batches: int = 10, examples: int = 100) -> dict[str, Tensor]:
    """Mean over batches b of (w g_b)^2, g_b the gradient of the mean loss of batch b.

    The first-order importance of Molchanov et al. (arXiv 1906.10771): the squared change of the loss when the weight is
    removed. As there, gradients are averaged over the examples of a batch, and importances (not gradients) over
    batches: the mean gradient of a trained network is about zero, the mean of its square is not. Every batch is
    drawn without replacement, and anew from all training examples.

    Raises:
        SettingError: `batches` is below 1.
        DataError: all examples of a batch have one class.
        NetworkError: weights, gradients or scores are not finite; names the layer.
    """
    if batches < 1:
        raise SettingError(f"{batches} batches: at least 1 is needed to take gradients of")
    scores = {name: zeros_like(weight) for name, weight in problem.weights().items()}
    for _ in range(batches):
        for name, change in _loss_change(problem, examples).items():
            scores[name] += change.square() / batches
    check_finite("scores", scores)
    return scores


def _loss_change(problem: Problem, examples: int) -> dict[str, Tensor]:
    """W g for the mean loss of one batch."""
    weights = problem.weights()
    batch = problem.labelled(examples)
    with problem.scoring() as network:
        slopes = gradients(problem.loss(network, batch), weights)
    return times_weights(weights, slopes)


def _magnitudes(products: dict[str, Tensor]) -> dict[str, Tensor]:
    """Absolute values, checked."""
    scores = {name: product.abs() for name, product in products.items()}
    check_finite("scores", scores)
    return scores
