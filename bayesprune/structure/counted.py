"""Numbers of channels that a network's code keeps in attributes of its modules, and that follow what is removed."""

from dataclasses import dataclass, field

from torch import nn

from bayesprune.structure.blame import Blame
from bayesprune.structure.kinds import kind_of

MOST_TRIED = 8
"""Attributes that are tried for one group before it is left whole."""


@dataclass
class Counts:
    """The attributes by which the network's code counts on the size of a group, found by trying.

    An attribute that holds the group's size, of the module in which the compact network fails or of one around it, is
    set to the number of channels that are left. If the network then fails elsewhere, more attributes are looked for.

    Attributes:
        of: by found group the attributes that follow.
    """

    of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _tried: dict[str, set[str]] = field(default_factory=dict)
    _came: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, network: nn.Module, name: str, blame: Blame) -> bool:
        """Try another attribute for a group that is to blame.

        Args:
            network: a copy, in its full size.
            name: of what was found.
            blame: where it fails now.

        Returns:
            False where there is none left; then none follows.
        """
        known, tried = self.of.get(name, ()), self._tried.setdefault(name, set())
        if known and blame.progress <= self._came[name]:
            known = known[:-1]  # the last one was none
        self._came[name] = max(blame.progress, self._came.get(name, blame.progress))
        paths = [path for path in _counting(network, blame.module, blame.group.size) if path not in tried]
        if not blame.where or not paths or len(tried) >= MOST_TRIED:
            self.of.pop(name, None)
            return False
        tried.add(paths[0])
        self.of[name] = (*known, paths[0])
        return True


def _counting(network: nn.Module, inner: str, size: int) -> list[str]:
    """The attributes that hold a number, of a module and those around it, the innermost first."""
    found, inside = [], True
    while inside:
        module = network.get_submodule(inner)
        if kind_of(module) is None:
            names = [name for name, value in vars(module).items() if type(value) is int and value == size]
            found += [f"{inner}.{name}".lstrip(".") for name in names if not name.startswith("_")]
        inside, inner = bool(inner), inner.rpartition(".")[0]
    return found
