"""SynFlow: the score that needs no data."""

import torch
from torch import Tensor, nn

from bayesprune.batches import call, each
from bayesprune.errors import NetworkError
from bayesprune.pruners.problem import Problem, check_finite
from bayesprune.pruners.saliency.gradients import gradients, times_weights
from bayesprune.structure import weights_of
from bayesprune.structure.copying import copied

_LARGEST = 1e30  # single precision ends at 3e38, and sums of scores must stay below it


def synflow(problem: Problem) -> dict[str, Tensor]:
    """|w dR/dw| with R the sum of the outputs for an input of ones, all parameters and buffers made absolute.

    One round of Tanaka et al., *Pruning neural networks without any data by iteratively conserving synaptic flow*
    (arXiv 2006.05467); the method repeats it a hundred times, at densities that fall exponentially, since in
    one shot it empties layers. Without biases every layer's scores have the same sum, R. Biases are absolute like all
    else, as in the authors' code. The network is in evaluation mode.

    Computed in double precision on a copy, so that the network itself is not touched. Where the largest score of a
    deep network is above 1e30, all of them are multiplied by one factor that makes it 1e30.

    Raises:
        NetworkError: weights or scores are not finite (names the layer), or inputs are tokens.
    """
    weights = problem.weights()
    device = next(iter(weights.values())).device
    network = absolute(problem.network)
    spec = problem.data.inputs
    if any(kind == "int64" for kind in spec.dtypes.values()):
        raise NetworkError(
            "SynFlow sends ones through the network, and inputs that are tokens cannot be ones: take another score, "
            "such as magnitude or snip"
        )
    ones = each(lambda part: torch.ones_like(part, dtype=torch.float64, device=device), spec.zeros())
    flow: Tensor = call(network, ones).sum()
    positive = weights_of(network)
    scores = times_weights(positive, gradients(flow, positive))
    check_finite("scores", scores)
    largest = max(float(score.max()) for score in scores.values())
    factor = _LARGEST / largest if largest > _LARGEST else 1.0
    return {name: (score * factor).to(weights[name].dtype) for name, score in scores.items()}


def absolute(network: nn.Module) -> nn.Module:
    """A copy in double precision and evaluation mode, with every parameter and buffer made absolute."""
    copy = copied(network).double().eval().requires_grad_(True)
    with torch.no_grad():
        for value in (*copy.parameters(), *copy.buffers()):
            if value.is_floating_point():  # counters and indices are no weights
                value.abs_()
    return copy
