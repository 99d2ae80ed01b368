"""Prior inclusion probabilities of whole layers of nodes, from the widths of the network and the size of the data."""

from collections.abc import Sequence
from math import exp, log

from bayesprune.errors import SettingError

STRENGTH = 1e-9
"""The constant C of the formula in SS-IG's public code."""

LEAST = 1e-12
"""Smallest inclusion probability, 28 nats a node: layers that read many thousand inputs would get e^-100."""


def layer_inclusion(
    inputs: Sequence[int], nodes: Sequence[int], examples: int, strength: float = STRENGTH
) -> list[float]:
    """The prior probability lambda_l that a node of each hidden layer is open.

    With hidden layers l = 0..L-1 and the output layer L, k_l the inputs and k'_l the nodes of layer l, n examples and
    C = `strength`:

        -ln lambda_l = ln k'_l + C (k_l + 1) v_l,
        v_l = (k_l + 1)^2 + sum_{m != l} ln(k_m + 1) + L + ln k'_l + ln(k_l + 1) + ln n + ln sum_m u_m,
        u_m = (L + 1)^2 (ln n + ln(L + 1) + ln(k_m + 1) + ln k'_m).

    It is 1/k'_l for narrow layers and falls fast with the cube of the inputs; never below `LEAST`.

    Args:
        inputs: of a node of each layer, the output layer's last; without the bias.
        nodes: of each layer, the output layer's last.
        examples: in the training data.
        strength: C.

    Returns:
        lambda of the L hidden layers.

    Raises:
        SettingError: the two lists do not belong together, or a number is not positive.

    Source: the public code of SS-IG (Jantre, Bhattacharya, Maiti, arXiv 2108.11000).
    """
    if len(inputs) != len(nodes) or min([examples, *inputs, *nodes]) < 1:
        raise SettingError(
            f"layers need inputs, nodes and examples >= 1, not {list(inputs)}, {list(nodes)} and {examples}: give one "
            "of each for every layer, the output layer's last"
        )
    last = len(nodes) - 1
    sizes = [(count + 1, wide) for count, wide in zip(inputs, nodes, strict=True)]
    spread = sum((last + 1) ** 2 * (log(examples) + log(last + 1) + log(k) + log(wide)) for k, wide in sizes)
    found = []
    for place, (k, wide) in enumerate(sizes[:-1]):
        others = sum(log(other) for m, (other, _) in enumerate(sizes) if m != place)
        v = k**2 + others + last + log(wide) + log(k) + log(examples) + log(spread)
        found.append(max(LEAST, exp(-log(wide) - strength * k * v)))
    return found
