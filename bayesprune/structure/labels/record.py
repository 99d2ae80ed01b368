"""What layers do with labels: which axis of which parameter writes or reads which channels."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bayesprune.structure.labels.universe import Cause, Universe


@dataclass
class Read:
    """How a parameter reads channels along one of its axes.

    Attributes:
        labels: of the features that arrive.
        feature_axis: of the layer's input along which they lie.
        by_weight: whether the layer is not called with them as its first argument.
    """

    labels: Tensor
    feature_axis: int
    by_weight: bool


@dataclass
class Own:
    """A parameter or buffer: the first layer that holds it, its name there, and the name of all of it."""

    layer: str
    tensor: str

    @property
    def name(self) -> str:
        """As in the network's state."""
        return f"{self.layer}.{self.tensor}" if self.layer else self.tensor


Place = tuple[str, str, int]
"""Layer, tensor, axis."""


@dataclass
class Record:
    """Everything that was seen of a network's layers.

    Attributes:
        network: whose layers they are.
        universe: of all labels.
        writes: the labels along the axes that layers write.
        reads: the same for those that they read.
        made: the channels that layers make, by the name that a group gets.
        maker: the layer of each such name.
        passed: layers that pass channels on, with their labels.
        norms: layer normalisations with the labels of the normalised features, and the axis that they lie along.
        whole: layers that were taken as a whole and whose channels stay, with the reason.
        elements: parameters used outside of layers, with the labels of their elements.
        tables: parameters whose rows are looked up by index, as layer and tensor.
        witnesses: labels of values that others must not go from if anything uses these: label, others, why.
        called: linear layers, convolutions and embeddings that are called as modules, by position.
        examples_first: whether the inputs of all layers that read channels have the examples along their first axis.
    """

    network: nn.Module
    universe: Universe
    writes: dict[Place, Tensor] = field(default_factory=dict)
    reads: dict[Place, Read] = field(default_factory=dict)
    made: dict[str, Tensor] = field(default_factory=dict)
    maker: dict[str, str] = field(default_factory=dict)
    passed: dict[str, Tensor] = field(default_factory=dict)
    norms: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    elements: dict[str, tuple[Own, Tensor]] = field(default_factory=dict)
    tables: set[tuple[str, str]] = field(default_factory=set)
    witnesses: list[tuple[Tensor, Tensor, Cause]] = field(default_factory=list)
    called: set[str] = field(default_factory=set)
    examples_first: bool = True

    def __post_init__(self) -> None:
        self._owners: dict[int, tuple[Own, Tensor]] = {}
        self._axes: dict[tuple[int, int], Tensor] = {}
        self._named: dict[str, Place] = {}
        for layer, module in self.network.named_modules():
            for tensor, value in (*module._parameters.items(), *module._buffers.items()):
                if value is not None and value.is_floating_point():
                    self._owners.setdefault(value.untyped_storage()._cdata, (Own(layer, tensor), value))

    def owned(self, tensor: Tensor) -> Tensor | None:
        """The parameter or buffer in whose memory a tensor lies."""
        found = self._owners.get(tensor.untyped_storage()._cdata)
        return None if found is None else found[1]

    def owner(self, tensor: Tensor) -> Own:
        """The layer that a parameter or buffer belongs to."""
        return self._owners[tensor.untyped_storage()._cdata][0]

    def touched(self, tensor: Tensor, labels: Tensor) -> None:
        """Note that a parameter is used element by element."""
        own = self.owner(tensor)
        self.elements[own.name] = (own, labels)

    def write(self, layer: str, tensor: str, axis: int, labels: Tensor) -> None:
        """Note the labels [n] of what lies along an axis of a layer's tensor."""
        self.writes[layer, tensor, axis] = self._tied(layer, tensor, axis, labels)

    def read(self, layer: str, tensor: str, axis: int, labels: Tensor, feature_axis: int, *, by_weight: bool) -> None:
        """Note the labels [n] of what a layer reads along an axis of its tensor."""
        labels = self._tied(layer, tensor, axis, labels)
        known = self.reads.get((layer, tensor, axis))
        by_weight |= known is not None and known.by_weight
        self.reads[layer, tensor, axis] = Read(labels, feature_axis, by_weight)

    def make(self, layer: str, tensor: str, axis: int, count: int, name: str | None = None) -> Tensor:
        """The labels [count] of channels that a layer makes, the same at every call.

        Args:
            layer: its name.
            tensor: that has them along an axis.
            axis: of the tensor.
            count: how many.
            name: of their group; the layer's where not given.
        """
        place = (layer, tensor, axis)
        if place not in self.writes:
            tied = self._axes.get(self._key(layer, tensor, axis))
            self.writes[place] = self._tied(layer, tensor, axis, self.universe.fresh(count) if tied is None else tied)
        name = (layer or tensor) if name is None else name
        if self._named.setdefault(name, place) != place:  # a weight that is used transposed makes channels twice
            name = f"{name}.{tensor}.{axis}"
        self.made[name], self.maker[name] = self.writes[place], layer
        return self.writes[place]

    def is_used_otherwise(self, layer: str) -> bool:
        """Whether something writes along the input axis of a layer's weight, or uses its elements by themselves."""
        return (layer, "weight", 1) in self.writes or f"{layer}.weight" in self.elements

    def axes(self, own: Own) -> list[tuple[int, Tensor]]:
        """The axes along which layers read or write a parameter, with their labels."""
        tensor = getattr(self.network.get_submodule(own.layer), own.tensor)
        return [
            (axis, self._axes[id(tensor), axis]) for axis in range(tensor.dim()) if (id(tensor), axis) in self._axes
        ]

    def rows(self, layer: str, tensor: str) -> Tensor | None:
        """The labels along the first axis of a tensor, where a layer reads or writes along it."""
        return self._axes.get(self._key(layer, tensor, 0))

    def _key(self, layer: str, tensor: str, axis: int) -> tuple[int, int]:
        return id(getattr(self.network.get_submodule(layer), tensor)), axis

    def _tied(self, layer: str, tensor: str, axis: int, labels: Tensor) -> Tensor:
        """The labels along an axis of a tensor, united with those of other uses of the same tensor."""
        labels = torch.broadcast_to(labels, (len(labels),))
        known = self._axes.get(self._key(layer, tensor, axis))
        if known is not None:
            said = Cause("a weight that is used more than once meets what stays whole", layer)
            self.universe.unite(known, labels, said)
            labels = torch.maximum(self.universe.canonical(known), self.universe.canonical(labels))
        self._axes[self._key(layer, tensor, axis)] = labels
        return labels
