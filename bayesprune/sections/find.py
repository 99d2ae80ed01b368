"""Finding the sections of a network: sums one of whose operands is a path from the other operand's source."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from bayesprune.batches import Batch
from bayesprune.errors import NetworkError
from bayesprune.sections.absent import PASSING, Absent, can_be_absent
from bayesprune.sections.check import not_exact
from bayesprune.sections.graph import Children, Sum, called_once, points, sums, traced
from bayesprune.sections.value import KIND, SUFFIX, Section
from bayesprune.structure.groups import Structure
from bayesprune.structure.members import Group

_DROPS = frozenset(("StochasticDepth", "DropPath"))
"""Classes of layers that drop whole branches in training."""


@dataclass(frozen=True)
class Found:
    """The sections of a network.

    Attributes:
        sections: in the order of the modules; an inner one after the one that holds it.
        left: sums that look like sections and are none, and modules that cannot be followed, each with the reason.
    """

    sections: tuple[Section, ...]
    left: dict[str, str] = field(default_factory=dict)


def find_sections(network: nn.Module, example: Batch, *, keep: Collection[str] = (), check: bool = True) -> Found:
    """Find the sections x -> skip(x) + F(x) of a network, wherever a module's forward has such a sum.

    The branch F is the summand that runs more layers with parameters (of equally many the one with more parameters),
    and runs them for the sum alone; the other summand is the skip, and stays. Every section is tried: with its gate
    closed the network must say what it says once the branch is deleted.

    Args:
        network: any; modules whose forward cannot be followed by torch.fx have no sections of their own.
        example: inputs [B, ...], or a tuple or dict of such.
        keep: names of layers, or of modules that hold some: a section with one of them stays.
        check: try every section.
    """
    from bayesprune.structure.copying import copied

    copy = copied(network).eval()
    left: dict[str, str] = {}
    found = _named(_sections(copy, left))
    names = dict(copy.named_modules())
    kept = {name for name in names if any(name == one or name.startswith(f"{one}.") for one in keep)}
    sections = tuple(one for one in found if not kept & {*one.layers, *one.points})
    reasons = not_exact(copy, sections, example) if check else {}
    left |= {name.removesuffix(SUFFIX): reason for name, reason in reasons.items()}
    return Found(tuple(one for one in sections if one.name not in reasons), left)


def with_sections(structure: Structure, sections: Sequence[Section]) -> Structure:
    """The structure with one gate more for each section, behind those of the other groups.

    Raises:
        NetworkError: it has sections already.
    """
    if structure.sections:
        raise NetworkError("the sections of this network were found before")
    groups = [Group(one.name, 1, torch.zeros(1, dtype=torch.long), one.layers, (), KIND) for one in sections]
    return replace(structure, groups=(*structure.groups, *groups), sections=tuple(sections))


def _named(sections: Iterable[Section]) -> tuple[Section, ...]:
    """Sections with names of their own: that of the module whose only section it is, else of the branch's end."""
    found: dict[str, Section] = {}
    for section in sections:
        names = (section.name, section.points[0] + SUFFIX, *(f"{section.points[0]}.{n}{SUFFIX}" for n in range(2, 99)))
        name = next(one for one in names if one not in found)
        found[name] = replace(section, name=name)
    return tuple(found.values())


def _sections(network: nn.Module, left: dict[str, str]) -> Iterator[Section]:
    """All that the modules' own forwards have, before they are tried."""
    owners = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    for name, module in network.named_modules():
        if type(module).__module__.startswith("torch.nn."):
            continue
        weights = {child: _weight(one) for child, one in module.named_modules() if child}
        if not any(layers for layers, _ in weights.values()):
            continue
        branch = getattr(module, "section_branch", None)
        if branch is not None:
            weights = {child: weight if child == branch else (0, 0) for child, weight in weights.items()}
        try:
            graph = traced(module)
        except Exception as error:  # whatever the module's own code raises when it is followed
            left[name or "the network"] = f"its forward cannot be followed ({' '.join(str(error).split())[:120]})"
            continue
        shared = {child for child, one in module.named_modules() if child and owners[id(one)] > 1}
        known = Children(
            called_once(graph) - shared, frozenset(child for child, one in module.named_modules() if _passes(one))
        )
        gone = {
            child
            for child, one in module.named_modules()
            if child and any(isinstance(part, Absent) for part in one.modules()) and not _weight(one)[0]
        }
        sums_here = list(sums(graph, weights, gone))
        whole = [one for one in sums_here if isinstance(one, Sum)]
        for one in sums_here:
            if not isinstance(one, Sum):
                left[_joined(name, one[0].name)] = one[1]
                continue
            made = _section(network, name, one, known, shared, alone=len(whole) == 1 and bool(name))
            if isinstance(made, Section):
                yield made
            else:
                left[_joined(name, one.node.name)] = made


def _section(
    network: nn.Module, owner: str, found: Sum, known: Children, shared: set[str], *, alone: bool
) -> Section | str:
    """The section of a sum, or why it is none.

    Args:
        network: the whole.
        owner: the module in whose forward the sum stands.
        found: the sum.
        known: of the owner's children.
        shared: children that other modules hold, too.
        alone: whether the owner has no other section, so that its name stands for it.
    """
    at = points(found, known)
    if at is None:
        return "what its branch ends with cannot be multiplied by a gate"
    layers = []
    for child in found.calls():
        module = network.get_submodule(_joined(owner, child))
        inside = list(_leaves(module))
        if child in shared and not any(True for _ in module.parameters()):
            continue  # a rectifier that others call, too, stays
        if child in shared:
            return f"its branch shares {_joined(owner, child)!r} with other modules"
        if not _only_inside(found, child):
            if any(True for _ in module.parameters()):
                return f"its branch runs {_joined(owner, child)!r}, which is run elsewhere, too"
            continue
        for name, one in inside:
            full = ".".join(part for part in (owner, child, name) if part)
            if not can_be_absent(one):
                return f"its branch runs {full!r}, a {type(one).__name__}, whose outputs nothing can stand for"
            layers.append(full)
    direct = [_joined(owner, name) for name in found.parameters()]
    trained = dict(network.named_parameters())
    direct = [name for name in direct if name in trained]
    for child in found.calls():
        full = _joined(owner, child)
        direct += [
            _joined(full, name)
            for name, _ in network.get_submodule(full).named_parameters()
            if not any(_joined(full, name).startswith(f"{layer}.") for layer in layers)
        ]
    name = owner if alone else _joined(owner, at[0])
    return Section(name + SUFFIX, tuple(layers), tuple(_joined(owner, one) for one in at), tuple(dict.fromkeys(direct)))


def _passes(module: nn.Module) -> bool:
    """Whether a layer says zeros of zeros."""
    return isinstance(module, PASSING) or type(module).__name__ in _DROPS


def _leaves(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers inside a module, attention whole."""
    if isinstance(module, nn.MultiheadAttention) or not any(True for _ in module.children()):
        yield name, module
        return
    for child, one in module.named_children():
        yield from _leaves(one, _joined(name, child))


def _only_inside(found: Sum, child: str) -> bool:
    """Whether every call of a child is the branch's."""
    calls = [node for node in found.node.graph.nodes if node.op == "call_module" and node.target == child]
    return all(node in found.inside for node in calls)


def _weight(module: nn.Module) -> tuple[int, int]:
    """How many of a module's layers have parameters, and how many parameters there are."""
    layers = sum(any(True for _ in one.parameters(recurse=False)) for one in module.modules())
    return layers, sum(parameter.numel() for parameter in module.parameters())


def _joined(*names: str) -> str:
    return ".".join(name for name in names if name)
