"""The value that describes one section of a network."""

from collections.abc import Callable
from dataclasses import dataclass, replace

KIND, SUFFIX = "section", ".section"
"""Of the group that is a section's gate: its kind, and the end of its name."""


@dataclass(frozen=True)
class Section:
    """A section x -> skip(x) + F(x), whose branch F can be deleted.

    Attributes:
        name: of the group that holds its gate.
        layers: that only the branch runs; a layer with layers inside of it, such as attention, is one.
        points: the modules, one or several, whose outputs the gate multiplies; what stands between them and the sum
            maps zeros to zeros.
        parameters: that only the branch reads, and that belong to no layer in `layers`.
    """

    name: str
    layers: tuple[str, ...]
    points: tuple[str, ...]
    parameters: tuple[str, ...] = ()

    def holds(self, layer: str, tensor: str = "") -> bool:
        """Whether a layer, or a parameter of one, goes with the branch."""
        inside = layer in self.layers or any(layer.startswith(f"{one}.") for one in self.layers)
        return inside or bool(tensor and f"{layer}.{tensor}".lstrip(".") in self.parameters)

    def renamed(self, name: Callable[[str], str]) -> "Section":
        """The same after layers got other names."""
        layers, points = (tuple(map(name, names)) for names in (self.layers, self.points))
        return replace(self, layers=layers, points=points)
