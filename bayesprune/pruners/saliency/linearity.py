"""Whether outputs are piecewise linear in each weight: read off the graph that autograd recorded."""

import re
from collections.abc import Iterable, Iterator

from torch import Tensor
from torch.autograd.graph import Node

_LEAF = "torch::autograd::AccumulateGrad"

# Sums, copies and rearrangements, and functions that are linear between kinks (rectifiers, maxima). A name stands for
# all of its overloads.
_LINEAR = re.compile(
    r"""
    Add | Sub | Rsub | Neg | Sum | Mean | Clone | ToCopy | Alias | AsStrided | View | UnsafeView | ReshapeAlias
    | T | Transpose | Permute | Squeeze | Unsqueeze | Expand | Repeat | Flip | Roll | Diagonal | Unfold
    | Cat | Stack | Chunk | Split | UnsafeSplit | SplitWithSizes | Unbind
    | Slice | Select | Index | IndexSelect | Gather | Where
    | (ConstantPadNd | ReflectionPad[123]D | ReplicationPad[123]D | PixelShuffle | PixelUnshuffle)
    | (UpsampleNearest[123]D | UpsampleLinear1D | UpsampleBilinear2D | UpsampleTrilinear3D)
    | (AvgPool[23]D | AdaptiveAvgPool[23]D | MaxPool2D | MaxPool[23]DWithIndices | AdaptiveMaxPool[23]D)
    | Abs | Max | Amax | Maximum | Clamp | ClampMin | ClampMax | Relu | LeakyRelu | Threshold | Hardtanh
    """,
    re.VERBOSE,
)

# Linear in each operand while the others are held.
_PRODUCTS = re.compile("Addmm|Addmv|Addbmm|Baddbmm|Bmm|Convolution|Linear|Mm|Mul|Mv|PreluKernel")

# The same with running statistics; with the batch's own they are not linear.
_NORMS = re.compile("CudnnBatchNorm|MiopenBatchNorm|NativeBatchNorm")


def first_bend(output: Tensor, weights: Iterable[Tensor]) -> str | None:
    """The first operation that makes an output nonlinear in one of the weights; None where there is none.

    Weights in a product with each other are fine as long as no weight stands on both sides, as it does where a layer
    is called on its own output. Operations that are not known count as nonlinear; what does not depend on the
    weights may be anything.

    Args:
        output: made with gradients on.
        weights: leaves of its graph.

    Returns:
        The operation's name, e.g. "Tanh".
    """
    leaves = {id(weight) for weight in weights}
    reached: dict[Node, frozenset[int]] = {}
    for node in _inputs_first(output.grad_fn):
        if node.name() == _LEAF:
            reached[node] = frozenset({id(getattr(node, "variable"))} & leaves)  # noqa: B009 - Node does not declare it
            continue
        operands = [reached[parent] for parent, _ in node.next_functions if parent is not None]
        reached[node] = frozenset[int]().union(*operands)
        if reached[node] and not _is_linear(node, operands):
            return node.name().partition("Backward")[0]
    return None


def _is_linear(node: Node, operands: list[frozenset[int]]) -> bool:
    """Whether an operation keeps its result piecewise linear in every weight that its operands depend on."""
    kind = node.name().partition("Backward")[0]
    if _LINEAR.fullmatch(kind):
        return True
    if kind == "Div":
        divisors = node.next_functions[1:]
        return all(divisor is None for divisor, _ in divisors)
    if _NORMS.fullmatch(kind):
        linear = not getattr(node, "_saved_training", True)
    else:
        linear = _PRODUCTS.fullmatch(kind) is not None
    apart = sum(map(len, operands)) == len(frozenset[int]().union(*operands))
    return linear and apart


def _inputs_first(root: Node | None) -> Iterator[Node]:
    """Every node of a graph once, after all those that it depends on."""
    seen: set[Node] = set()
    stack = [] if root is None else [(root, False)]
    while stack:
        node, complete = stack.pop()
        if complete:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent, _ in node.next_functions if parent is not None)
