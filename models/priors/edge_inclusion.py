"""Prior inclusion probability of single weights, from the size of the network and of the data."""

from math import exp, log

from bayesprune.errors import SettingError

DEPTH = 3
"""L' of the formula: 3 in both public codes, though one's networks have two hidden layers and the other's three."""


def edge_inclusion(parameters: int, widest: int, inputs: int, examples: int, depth: int = DEPTH) -> float:
    """The prior probability lambda that a weight or bias is there, one for the whole network.

    With T parameters, L' = `depth`, k the width of the widest hidden layer, k_0 inputs and n examples:

        -ln lambda = ln T + 0.1 [(L' + 1) ln k + ln(sqrt(n) k_0)].

    Args:
        parameters: T; in a network with convolutions those of its linear layers.
        widest: k.
        inputs: k_0, of the first of these layers.
        examples: n, in the training data.
        depth: L'.

    Raises:
        SettingError: a number is not positive.

    Source: the public codes of Bai, Song and Cheng (2020, "Efficient variational inference for sparse deep learning
    with theoretical guarantee") and of SS-IG (arXiv 2108.11000).
    """
    if min(parameters, widest, inputs, examples, depth) < 1:
        raise SettingError(
            f"parameters, widest, inputs, examples and depth must be at least 1, not {parameters}, {widest}, {inputs}, "
            f"{examples} and {depth}: count the weights and biases of the layers"
        )
    return exp(-log(parameters) - 0.1 * ((depth + 1) * log(widest) + log(examples**0.5 * inputs)))
