"""Initial weights that a study may ask for instead of the layers' own."""

from collections.abc import Callable

import torch
from torch import nn

from bayesprune.structure.matrices import COUNTED

_CUT, _TRUNCATED_DEVIATION = 2.0, 0.87962566103423978
"""Where the normal distribution is cut off, and the standard deviation it has then."""

_BIAS_DEVIATION = 0.01


@torch.no_grad()
def glorot(network: nn.Module) -> None:
    """Draw weights with variance 2 / (inputs + outputs), and biases N(0, 0.01^2).

    Weights of linear and convolution layers come from a normal distribution that is cut off at two of its standard
    deviations and scaled to the variance; inputs and outputs of a convolution count its kernel. So does the code of
    Liu and Zenke (arXiv 2006.08228); variance scaling is what SNIP (arXiv 1810.02340) asks for. Numbers come from
    torch's global generator. Other layers stay as they are.
    """
    for module in network.modules():
        if not isinstance(module, COUNTED):
            continue
        inputs, outputs = nn.init._calculate_fan_in_and_fan_out(module.weight)
        scale = (2 / (inputs + outputs)) ** 0.5 / _TRUNCATED_DEVIATION
        nn.init.trunc_normal_(module.weight, 0.0, scale, -_CUT * scale, _CUT * scale)
        if module.bias is not None:
            nn.init.normal_(module.bias, 0.0, _BIAS_DEVIATION)


@torch.no_grad()
def he(network: nn.Module) -> None:
    """Draw weights from N(0, 2 / inputs), and set biases to 0: rectifiers pass signals on at their size at any depth.

    Inputs of a convolution count its kernel (He et al., arXiv 1502.01852, equation 10). torch's own weights have a
    sixth of that variance, with which a perceptron of ten layers does not begin to learn. Numbers come from torch's
    global generator. Other layers stay as they are.
    """
    for module in network.modules():
        if isinstance(module, COUNTED):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def own(network: nn.Module) -> None:
    """Leave the network's weights as they are."""


INITIAL: dict[str, Callable[[nn.Module], None]] = {"own": own, "glorot": glorot, "he": he}
