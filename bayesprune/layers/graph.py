"""Where values of a traced network come from, whether they can be negative, and who reads them."""

from collections import Counter
from typing import Any

from torch import fx, nn

from bayesprune.layers.linear import POOLS, Nothing, numbers
from bayesprune.structure.functions import ADDITIONS, PASSES, PRODUCTS, SAME_SIGN, called

_POSITIVE = frozenset((
    "relu", "relu_", "relu6", "sigmoid", "sigmoid_", "softplus", "hardsigmoid", "softmax", "abs", "abs_", "square",
    "exp", "ReLU", "ReLU6", "Sigmoid", "Softplus", "Hardsigmoid", "Softmax",
))  # fmt: skip
"""Functions, methods and modules whose values are not negative."""

_IDENTITY = frozenset(("relu", "relu_", "leaky_relu", "leaky_relu_", "prelu", "ReLU", "LeakyReLU", "PReLU"))
"""The identity on [0, inf)."""

_PASSING = PASSES | {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "Identity", "Passed"}
"""The identity in evaluation mode."""

_KEEPS_SIGN = SAME_SIGN | {
    "MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d",
    "Flatten", "Unflatten", "LeakyReLU", "PReLU", "leaky_relu", "prelu",
}  # fmt: skip
"""Not negative where what they read is not; the first argument is what they read."""


class Flow:
    """A traced network.

    Args:
        network: that was traced.
        graph: its graph.
        inputs_not_negative: whether its inputs are known to be so.
    """

    def __init__(self, network: nn.Module, graph: fx.Graph, inputs_not_negative: bool) -> None:
        self.network, self.graph, self._inputs = network, graph, inputs_not_negative
        self._modules = dict(network.named_modules(remove_duplicate=False))
        self._positive: dict[fx.Node, bool] = {}
        names = {id(module): name for name, module in reversed(self._modules.items())}
        self._calls = Counter(
            names[id(self._modules[str(node.target)])] for node in graph.nodes if node.op == "call_module"
        )
        self._names = names
        owners = [module for module in network.modules() if module._parameters]
        self._shared = Counter(id(p) for module in owners for p in module._parameters.values() if p is not None)
        self._read_apart = {str(node.target) for node in graph.nodes if node.op == "get_attr"}

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls, if any."""
        return self._modules.get(str(node.target)) if node.op == "call_module" else None

    def name(self, node: fx.Node) -> str:
        """The function, method or kind of module that a node calls."""
        module = self.module(node)
        if module is not None:
            return type(module).__name__
        return called(node)

    def calls(self, name: str) -> int:
        """How often a module is called."""
        return self._calls[self._names[id(self._modules[name])]]

    def is_shared(self, module: nn.Module) -> bool:
        """Whether a parameter of a module has another owner, or is read apart from the module's own call."""
        own = {id(parameter) for parameter in module.parameters()}
        apart = {id(self._attribute(name)) for name in self._read_apart}
        return any(self._shared[one] > 1 for one in own) or bool(own & apart)

    def _attribute(self, name: str) -> Any:
        owner, _, leaf = name.rpartition(".")
        return getattr(self._modules.get(owner), leaf, None)

    def source(self, node: fx.Node) -> fx.Node:
        """What a node reads first."""
        return node.all_input_nodes[0]

    def added(self, node: fx.Node) -> list[fx.Node]:
        """What an addition adds, where it adds two values as they are."""
        plain = len(node.args) == 2 and not node.kwargs and all(isinstance(one, fx.Node) for one in node.args)
        return list(node.all_input_nodes) if plain else []

    def is_positive(self, node: fx.Node) -> bool:
        """Whether no value of a node can be negative."""
        if node not in self._positive:
            self._positive[node] = False  # a value that hangs on itself is not known
            self._positive[node] = self._finds_positive(node)
        return self._positive[node]

    def _finds_positive(self, node: fx.Node) -> bool:
        name = self.name(node)
        if node.op == "placeholder":
            return self._inputs
        if node.op not in ("call_module", "call_function", "call_method"):
            return False
        if name in _POSITIVE or isinstance(self.module(node), Nothing):
            return True
        read = node.all_input_nodes
        if name == "pow":
            return len(read) == 1 and node.args[1:] in ((2,), (4,))
        if name in ADDITIONS | PRODUCTS | {"cat"}:
            numbers = [one for one in node.args if isinstance(one, int | float)]
            plain = name == "cat" or (not node.kwargs and all(number >= 0 for number in numbers))
            return plain and bool(read) and all(map(self.is_positive, read))
        if name in _PASSING | _KEEPS_SIGN:
            return bool(read) and self.is_positive(read[0])
        return False

    def alias(self, node: fx.Node) -> fx.Node:
        """The node whose values a node passes on as they are, in evaluation mode."""
        while self._is_alias(node):
            node = next(one for one in node.all_input_nodes if not isinstance(self.module(one), Nothing))
        return node

    def _is_alias(self, node: fx.Node) -> bool:
        read = node.all_input_nodes
        if not read or node.op not in ("call_module", "call_function", "call_method"):
            return False
        if self.name(node) in ADDITIONS:
            return len(self.added(node)) == 2 and sum(isinstance(self.module(one), Nothing) for one in read) == 1
        return is_passing(self, node) or (is_identity_where_positive(self, node) and self.is_positive(read[0]))

    def readers(self, node: fx.Node) -> list[fx.Node]:
        """The nodes that make something of a node's values; what passes them on unchanged is looked through."""
        found: list[fx.Node] = []
        for user in node.users:
            if isinstance(self.module(user), Nothing):
                continue
            for reader in self.readers(user) if self._is_alias(user) else [user]:
                if reader not in found:
                    found.append(reader)
        return found


def is_identity_where_positive(flow: Flow, node: fx.Node) -> bool:
    """Whether a node is an activation that passes on all that is not negative."""
    return flow.name(node) in _IDENTITY


def is_passing(flow: Flow, node: fx.Node) -> bool:
    """Whether a node passes its values on in evaluation mode."""
    return flow.name(node) in _PASSING


def is_plain_pool(module: nn.Module) -> bool:
    """Whether a module is average pooling whose every value is the mean of as many."""
    if type(module) not in POOLS:
        return False
    padded = any(numbers(module.padding, POOLS[type(module)]))
    return not padded and not module.ceil_mode and getattr(module, "divisor_override", None) is None


def words_for(flow: Flow, node: fx.Node) -> str:
    """A node in a message."""
    if node.op == "call_module":
        return f"{flow.name(node)} {str(node.target)!r}"
    return "the network's input" if node.op == "placeholder" else flow.name(node) or node.op
