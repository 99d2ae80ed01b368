"""Multilayer perceptrons of any depth."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.run.networks import register


@register("mlp")
class MLP(nn.Module):
    """Linear layers with rectifiers between them: fc1, fc2 and so on; 784-100-10 by default (79,510 parameters).

    Args:
        widths: units of the hidden layers.
        input_shape: shape of one input, flattened before the first layer.
        classes: outputs.
    """

    def __init__(
        self, widths: Sequence[int] = (100,), input_shape: Sequence[int] = (1, 28, 28), classes: int = 10
    ) -> None:
        super().__init__()
        if not widths or any(width < 1 for width in (*widths, classes)):
            raise SettingError(f"mlp takes one or more widths >= 1 and classes >= 1, not {tuple(widths)} and {classes}")
        self.spec_arguments = {
            "widths": list(widths), "input_shape": list(input_shape), "classes": classes
        }  # fmt: skip
        sizes = (prod(input_shape), *widths, classes)
        self._count = len(sizes) - 1
        for number, (inputs, outputs) in enumerate(pairwise(sizes), 1):
            self.add_module(f"fc{number}", nn.Linear(inputs, outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, *input_shape]."""
        hidden = inputs.flatten(1)
        for number in range(1, self._count):
            hidden = self.get_submodule(f"fc{number}")(hidden).relu()
        logits: Tensor = self.get_submodule(f"fc{self._count}")(hidden)
        return logits
