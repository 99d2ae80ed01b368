"""Finding the groups for which a compact network is not the gated one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bayesprune.batches import Batch, parts
from bayesprune.structure.compact import compact
from bayesprune.structure.copying import copied
from bayesprune.structure.gating import Gating
from bayesprune.structure.groups import Structure
from bayesprune.structure.labels.code import failing_line
from bayesprune.structure.layers import CONVOLUTION
from bayesprune.structure.members import Group
from bayesprune.structure.modes import hooked
from bayesprune.structure.nesting import tensors_in
from bayesprune.structure.passes import Passes
from bayesprune.structure.selectors import is_wrapper

_NEAR = 6
"""How many groups made near a failure are tried one by one."""


@dataclass(frozen=True)
class Blame:
    """A group that cannot be removed exactly.

    Attributes:
        group: the group.
        where: the line of the network's code that fails, or the error, once channels are gone; "" where it runs and
            says something else.
        module: in which it fails.
        step: how many modules had begun to run by then.
        last: of these, the last one.
    """

    group: Group
    where: str
    module: str = ""
    step: int = 0
    last: str = ""

    @property
    def progress(self) -> tuple[int, int]:
        """How far the network came: the modules that had begun, and the line."""
        line = self.where.rpartition(":")[2]
        return self.step, int(line) if line.isdigit() else 0


def groups_to_blame(
    network: nn.Module, structure: Structure, example: Batch, open_gates: Tensor, passes: Passes
) -> list[Blame]:
    """The groups that make a difference: those made where it fails and in modules alike, else found by halving."""
    places = list(zip(structure.groups, structure.slices().values(), strict=True))
    search = _Search(network, structure, example, open_gates, passes)
    failed = search.differs(places)
    inner, names = "" if failed is None else failed.module, {name for name, _ in network.named_modules()}
    while inner:
        near = [place for place in places if inner in names and f"{place[0].name}.".startswith(f"{inner}.")]
        near = [place for place in near if not structure.spread & {*place[0].producers}]  # they hand out all channels
        found = [blame for place in near[:_NEAR] if (blame := search.differs([place])) is not None and blame.where]
        if found:
            every = [alike for blame in found for alike in _alike(blame, inner, network, structure)]
            return list({blame.group.name: blame for blame in every}.values())
        inner = inner.rpartition(".")[0]
    if failed is not None and failed.where and not failed.module:  # between modules: what the last one wrote
        recent = [place for place in places if failed.last in place[0].producers][:_NEAR]
        found = [blame for place in recent if (blame := search.differs([place])) is not None and blame.where]
        if found:
            return found
    return search.halved(places, failed or Blame(places[-1][0], ""))


def _alike(blame: Blame, inner: str, network: nn.Module, structure: Structure) -> list[Blame]:
    """A group to blame, and those of the same place in other modules of the class of the one in which it fails."""
    kind, place = type(network.get_submodule(inner)), blame.group.name[len(inner) :]
    if kind in (nn.Sequential, nn.Linear) or isinstance(network.get_submodule(inner), CONVOLUTION):
        return [blame]
    names = {f"{name}{place}" for name, module in network.named_modules() if type(module) is kind}
    return [replace(blame, group=group) for group in structure.groups if group.name in names]


@dataclass
class _Search:
    """Compares a network under some of the closed gates with one from which they are removed."""

    network: nn.Module
    structure: Structure
    example: Batch
    open_gates: Tensor
    passes: Passes

    @torch.no_grad()
    def differs(self, some: list[tuple[Group, slice]]) -> Blame | None:
        """The last of some groups where they make a difference together, else None."""
        gates = torch.ones_like(self.open_gates)
        for _, place in some:
            gates[place] = self.open_gates[place]
        gates = self.structure.protect(gates, gates.float())
        smaller, path, begun = copied(self.network), list[str](), list[str]()
        try:
            compact(smaller, self.structure, gates)
            with hooked(_path_hooks(smaller, path, begun)):
                got = list(tensors_in(self.passes(smaller, self.example)))
        except Exception as error:  # the network's own code meets channels it did not count on
            inside, last = (names[-1] if names else "" for names in (path, begun))
            return Blame(some[-1][0], failing_line(error), inside, len(begun), last)
        expected = gated_outputs(self.network, self.structure, self.example, gates, self.passes)
        return None if agree(got, expected) else Blame(some[-1][0], "")

    def halved(self, some: list[tuple[Group, slice]], said: Blame) -> list[Blame]:
        """The groups among some that make a difference; of several that do so together only, the last one."""
        if len(some) == 1:
            return [said]
        found = []
        for half in (some[: len(some) // 2], some[len(some) // 2 :]):
            blame = self.differs(half)
            found += [] if blame is None else self.halved(half, blame)
        return found or [replace(said, group=some[-1][0])]


def _path_hooks(network: nn.Module, path: list[str], begun: list[str]) -> Iterator[RemovableHandle]:
    """Keep the names of the modules that run, and of all that began; as before layers moved into wrappers."""
    wrappers = {name for name, module in network.named_modules() if is_wrapper(module)}

    def leave(*_: Any) -> None:
        path.pop()

    def enter(name: str) -> None:
        path.append(name)
        begun.append(name)

    for name, module in network.named_modules():
        holder = name.rpartition(".")[0]
        plain = holder if holder in wrappers else name
        yield module.register_forward_pre_hook(lambda *_, plain=plain: enter(plain), prepend=True)
        yield module.register_forward_hook(leave)


@torch.no_grad()
def gated_outputs(
    network: nn.Module, structure: Structure, example: Batch, open_gates: Tensor, passes: Passes
) -> list[Tensor]:
    """The outputs of a network under gates."""
    gating = Gating(network, structure)
    with gating.applied(open_gates.to(parts(example)[0].device, torch.float32)):
        outputs = list(tensors_in(passes(network, example)))
    gating.remove()
    return outputs


def agree(got: list[Tensor], expected: list[Tensor]) -> bool:
    """Whether all outputs are the same up to rounding."""
    return len(got) == len(expected) and all(_close(*pair) for pair in zip(got, expected, strict=True))


def _close(got: Tensor, expected: Tensor) -> bool:
    """Whether two outputs agree up to rounding; values that are not finite must be so in both."""
    if got.shape != expected.shape:
        return False
    if not expected.is_floating_point():
        return torch.equal(got, expected)
    finite = expected.isfinite()
    if not torch.equal(finite, got.isfinite()):
        return False
    difference, size = (got - expected)[finite].abs(), expected[finite].abs()
    if not len(size):
        return True
    tolerance = max(1e-9, 200 * torch.finfo(expected.dtype).eps)
    return bool(difference.max() <= tolerance * size.max().clamp_min(1e-6))
