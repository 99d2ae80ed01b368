"""Multilayer perceptrons of any depth."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from bayesprune.errors import SettingError
from bayesprune.run.networks import register


@register("mlp")
class MLP(nn.Sequential):
    """Linear layers with rectifiers between them: fc1, fc2 and so on; 784-100-10 by default (79,510 parameters).

    Args:
        widths: units of the hidden layers.
        input_shape: shape of one input, flattened before the first layer.
        classes: outputs.
    """

    def __init__(
        self, widths: Sequence[int] = (100,), input_shape: Sequence[int] = (1, 28, 28), classes: int = 10
    ) -> None:
        if not widths or any(width < 1 for width in (*widths, classes)):
            raise SettingError(f"mlp takes one or more widths >= 1 and classes >= 1, not {tuple(widths)} and {classes}")
        spec_arguments = {
            "widths": list(widths), "input_shape": list(input_shape), "classes": classes
        }  # fmt: skip
        sizes = (prod(input_shape), *widths, classes)
        layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
        for number, (inputs, outputs) in enumerate(pairwise(sizes), 1):
            layers[f"fc{number}"] = nn.Linear(inputs, outputs)
            layers[f"relu{number}"] = nn.ReLU()
        layers.popitem()  # logits are not rectified
        super().__init__(OrderedDict(layers))
        self.spec_arguments = spec_arguments
