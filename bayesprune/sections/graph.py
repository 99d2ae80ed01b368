"""What one module's forward does with its children, as a graph: where it adds, and what only one summand runs."""

import operator
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from bayesprune.structure.functions import ADDITIONS, PRODUCTS, SAME_SIGN, called

_JOINS = ADDITIONS | {"sub", "cat", "stack", "concat"}
_FACTORS = PRODUCTS | {"matmul"}
_KEEPS_ZERO = SAME_SIGN | {
    "relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "hardtanh", "hardswish",
    "softsign", "tanhshrink", "abs", "neg", "stochastic_depth", "drop_path", "interpolate", "upsample", "truediv",
    "div",
}  # fmt: skip
"""Functions and methods that say zeros of zeros; their first argument counts."""


@dataclass(frozen=True, eq=False)
class Sum:
    """A sum of two in a module's forward.

    Attributes:
        node: the sum.
        branch: the summand that runs more layers; of equally many the one with more parameters.
        inside: all that is computed for the branch and for nothing else.
    """

    node: fx.Node
    branch: fx.Node
    inside: frozenset[fx.Node]

    def calls(self) -> list[str]:
        """The children that the branch runs, each once, in the order of their calls."""
        nodes = [node for node in self.node.graph.nodes if node in self.inside and node.op == "call_module"]
        return list(dict.fromkeys(str(node.target) for node in nodes))

    def parameters(self) -> list[str]:
        """What the branch reads of the module itself."""
        nodes = [node for node in self.node.graph.nodes if node in self.inside and node.op == "get_attr"]
        return list(dict.fromkeys(str(node.target) for node in nodes))


class _Shallow(fx.Tracer):
    """Follows one module's own forward; every child is one call."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """All of them."""
        return True


def traced(module: nn.Module) -> fx.Graph:
    """The graph of a module's own forward.

    Raises:
        Exception: whatever its code raises when it is followed, such as a branch that depends on values.
    """
    return _Shallow().trace(module)


Weight = tuple[int, int]
"""Layers with parameters, and parameters."""


def sums(
    graph: fx.Graph, weights: dict[str, Weight], gone: Collection[str] = ()
) -> Iterator[Sum | tuple[fx.Node, str]]:
    """Every sum of a skip and a branch, or a sum that is none of these and why.

    Args:
        graph: of a module's forward.
        weights: how many layers with parameters each child holds, and how many parameters.
        gone: children that were deleted: a sum with one has no other summand that could go.
    """
    for node in graph.nodes:
        first, second = _summands(node)
        if first is None or second is None or first is second:
            continue
        one, other = _only_for(first, node), _only_for(second, node)
        if not (_sources(one, first) & _before(second) or _sources(other, second) & _before(first)):
            continue  # nothing is common to the two: no skip
        if any(inner.op == "call_module" and inner.target in gone for inner in one | other):
            continue
        heavy, light = (_weight(part, weights) for part in (one, other))
        if heavy == light:
            if any(heavy):
                yield node, "its two summands run equally many layers and parameters, so that none is the skip"
            continue
        yield Sum(node, first, one) if heavy > light else Sum(node, second, other)


@dataclass(frozen=True)
class Children:
    """What is known of a module's children.

    Attributes:
        once: those whose outputs can be multiplied: called once, and shared with no other module.
        passing: those that say zeros of zeros, and can be passed by.
    """

    once: frozenset[str]
    passing: frozenset[str]


def points(found: Sum, children: Children) -> tuple[str, ...] | None:
    """Children whose outputs can be multiplied in the branch's place; None where there are none."""
    names = _points(found.branch, found.inside, children)
    return None if names is None else tuple(dict.fromkeys(names))


def called_once(graph: fx.Graph) -> frozenset[str]:
    """The children that a forward calls exactly once."""
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    return frozenset(name for name, count in calls.items() if count == 1)


def _summands(node: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
    """The two summands of a plain sum."""
    is_sum = node.op in ("call_function", "call_method") and called(node) in ADDITIONS
    if is_sum and len(node.args) == 2 and not node.kwargs:
        first, second = node.args
        if isinstance(first, fx.Node) and isinstance(second, fx.Node):
            return first, second
    return None, None


def _only_for(summand: fx.Node, total: fx.Node) -> frozenset[fx.Node]:
    """What is computed for this summand and for nothing else; nothing where the summand is used elsewhere too."""
    if set(summand.users) != {total} or summand.op == "placeholder":
        return frozenset()
    inside: set[fx.Node] = {summand}
    inside |= {node for node in summand.graph.nodes if node.target is operator.getitem and not node.users}
    for node in reversed(summand.graph.nodes):
        if node.op != "placeholder" and node.users and node is not total and set(node.users) <= inside:
            inside.add(node)
    return frozenset(node for node in inside if node.users)


def _sources(inside: frozenset[fx.Node], summand: fx.Node) -> set[fx.Node]:
    """What the inside of a summand reads from outside; the summand itself where it has no inside."""
    if not inside:
        return {summand}
    return {source for node in inside for source in node.all_input_nodes if source not in inside}


def _before(node: fx.Node) -> set[fx.Node]:
    """A node and all that it depends on."""
    found, ahead = {node}, [node]
    while ahead:
        for source in ahead.pop().all_input_nodes:
            if source not in found:
                found.add(source)
                ahead.append(source)
    return {each for each in found if each.op != "get_attr"}


def _weight(inside: frozenset[fx.Node], weights: dict[str, Weight]) -> Weight:
    """Of all that is run inside."""
    found = [weights.get(name, (0, 0)) for name in {str(n.target) for n in inside if n.op == "call_module"}]
    return sum(layers for layers, _ in found), sum(parameters for _, parameters in found)


def _points(node: Any, inside: frozenset[fx.Node], children: Children) -> list[str] | None:
    """Where to multiply so that a node of the branch is multiplied."""
    if not isinstance(node, fx.Node) or node not in inside:
        return None
    if node.op == "call_module":
        if node.target in children.once:
            return [str(node.target)]
        passes = node.target in children.passing and node.args
        return _points(node.args[0], inside, children) if passes else None
    if node.op not in ("call_function", "call_method"):
        return None
    name = called(node)
    if name in _FACTORS:
        ways = (_points(factor, inside, children) for factor in node.args)
        return next((way for way in ways if way is not None), None)
    if name in _JOINS:
        parts = node.args[0] if isinstance(node.args[0], list | tuple) else node.args[:2]
        found = [_points(part, inside, children) for part in parts]
        return None if any(way is None for way in found) else [point for way in found for point in way or ()]
    return _points(node.args[0], inside, children) if name in _KEEPS_ZERO and node.args else None
