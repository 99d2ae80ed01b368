"""A network of the zoo: how it is made, what it takes, and how many of its channels can go at least."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

SHAPES: dict[str, "Shape"] = {}
"""All of them by name, in the order in which they were defined."""

Made = TypeVar("Made", bound=type[nn.Module])


@dataclass(frozen=True)
class Shape:
    """A network.

    Attributes:
        name: that of its class.
        make: makes it with random weights.
        example: makes a batch of inputs.
        gates: what can be removed by itself or only together, counted by hand; the class's docstring tells how.
            Inputs are not counted, nor what only a method of its own could cut (heads' widths).
    """

    name: str
    make: Callable[[], nn.Module]
    example: Callable[[], Any]
    gates: int

    def build(self) -> tuple[nn.Module, Any]:
        """The network in evaluation mode, none of whose tensors has equal entries, and an example."""
        torch.manual_seed(len(self.name))
        network = self.make()
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                if tensor.is_floating_point() and tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all()):
                    tensor.copy_(torch.rand(tensor.shape) + 0.5)
        return network.eval(), self.example()


def shape(gates: int, *sizes: tuple[int, ...], tokens: int | None = None, batch: int = 3) -> Callable[[Made], Made]:
    """Enter a class of networks.

    Args:
        gates: see `Shape`.
        sizes: of one example, one for each input.
        tokens: inputs are whole numbers below this.
        batch: examples.
    """

    def add(made: Made) -> Made:
        SHAPES[made.__name__] = Shape(made.__name__, made, lambda: inputs(sizes, tokens, batch), gates)
        return made

    return add


def inputs(sizes: tuple[tuple[int, ...], ...], tokens: int | None, batch: int) -> Any:
    """Random inputs; several as a tuple."""
    made: list[Tensor] = [
        torch.randn(batch, *size) if tokens is None else torch.randint(tokens, (batch, *size)) for size in sizes
    ]
    return made[0] if len(made) == 1 else tuple(made)
