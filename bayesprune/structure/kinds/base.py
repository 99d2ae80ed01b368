"""What a kind of layer does with channels, and the table of kinds; a new kind is one file that registers itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from bayesprune.structure.kinds.inside import Inside

INPUT, HIDDEN = "input-to-hidden", "hidden-to-hidden"
"""The two kinds of matrices that a recurrent layer has."""


def never(_: nn.Module) -> None:
    """No layer of the kind is in trouble."""


def unchanged(_: nn.Module, __: int | None) -> None:
    """A kind without size attributes."""


def no_units(_: nn.Module) -> None:
    """A kind without units inside."""


def no_matrices(_: nn.Module) -> Mapping[str, str]:
    """A kind that multiplies nothing, or whose one weight is known otherwise."""
    return {}


def not_masked(_: nn.Module) -> Mapping[str, Tensor]:
    """A kind all of whose entries are weights."""
    return {}


@dataclass(frozen=True)
class LayerKind:
    """What layers of one kind do with channels.

    Attributes:
        classes: of the layers.
        written: the axis of the channels that a layer writes, for each tensor that has one; a layer that passes
            channels on without a tensor yields {"": 0}.
        width: how many channels a layer without such a tensor passes on.
        reads: (input axis of the weight, axis of the features), or None for layers that only pass channels on.
        makes: whether a layer makes its channels itself; else they are those that it gets.
        trouble: why channels cannot be cut out of a layer, or None.
        resize: makes a layer's size attributes agree with its tensors, or with so many channels.
        opaque: only a layer itself knows what it does to channels; the graph shows that it reads and writes some.
        named: further classes, each "module.name", of packages that are not imported for this.
        inside: the units inside of a layer that has some, and the axes of its weights that belong to them.
        matrices: the parameters that a layer multiplies what arrives by, each with `INPUT` or `HIDDEN`, or "" where it
            is neither; not those of linear layers and convolutions, whose one weight is known.
        fixed: by parameter where a layer has weights at all (not 0), for those that have fixed masks.
    """

    classes: tuple[type[nn.Module], ...]
    written: Callable[[nn.Module], dict[str, int]] = lambda _: {}
    width: Callable[[nn.Module], int] = lambda _: 0
    reads: tuple[int, int] | None = None
    makes: Callable[[nn.Module], bool] = lambda _: False
    trouble: Callable[[nn.Module], str | None] = never
    resize: Callable[[nn.Module, int | None], None] = unchanged
    opaque: bool = False
    named: tuple[str, ...] = ()
    inside: Callable[[nn.Module], Inside | None] = no_units
    matrices: Callable[[nn.Module], Mapping[str, str]] = no_matrices
    fixed: Callable[[nn.Module], Mapping[str, Tensor]] = not_masked

    def fits(self, layer: nn.Module) -> bool:
        """Whether a layer is of this kind."""
        return isinstance(layer, self.classes) or any(
            f"{known.__module__}.{known.__qualname__}" in self.named for known in type(layer).__mro__
        )


_KINDS: list[LayerKind] = []


def register(kind: LayerKind) -> LayerKind:
    """Add a kind to the table; of two that fit a layer the one registered later counts."""
    _KINDS.append(kind)
    return kind


def kind_of(layer: nn.Module) -> LayerKind | None:
    """The kind of a layer, or None."""
    return next((kind for kind in reversed(_KINDS) if kind.fits(layer)), None)


def along(axis: int, *names: str) -> Callable[[nn.Module], dict[str, int]]:
    """The named tensors that a layer has, each with its channels along one axis."""

    def written(layer: nn.Module) -> dict[str, int]:
        return {name: axis for name in names if isinstance(getattr(layer, name, None), Tensor)}

    return written
