"""Counting multiply-accumulates operator by operator, whatever calls the operators."""

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import (
    flop_registry,
    register_flop_formula,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

aten: Any = torch.ops.aten


class MacCounter(TorchDispatchMode):
    """Counts the multiply-accumulates of all that runs inside `with MacCounter() as counter:`.

    The formulas are those of `torch.utils.flop_counter`, to which this module adds operators that it does not know:
    fused recurrent layers, attention on a processor, products with vectors. So torch's `FlopCounterMode` finds the
    same; unlike that this one keeps no account by module, so that a training step under it costs little more than one
    without.

    Args:
        weights: parameters by name, of which it is taken down how much they multiply.

    Attributes:
        macs: counted so far, over the whole batch.
        used: ids of all parameters that an operator was given.
        by_weight: what each of `weights` multiplied; operators that are given several share by their entries.
    """

    supports_higher_order_operators = True

    def __init__(self, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.macs = 0
        self.used: set[int] = set()
        self.by_weight: dict[str, float] = dict.fromkeys(weights or {}, 0.0)
        self._stored: dict[int, list[tuple[int, int, str]]] = {}
        for name, weight in (weights or {}).items():
            start = int(weight.storage_offset())
            places = self._stored.setdefault(_storage(weight), [])
            places.append((start, start + int(weight.numel()), name))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator and count it, or what it is made of."""
        kwargs = kwargs or {}
        self.used.update(id(value) for value in _flat(args) if isinstance(value, nn.Parameter))
        if func in _QUESTIONS or isinstance(func, torch._ops.HigherOrderOperator):
            return NotImplemented
        if func not in _WHOLE:
            with self:
                made_of = func.decompose(*args, **kwargs)
            if made_of is not NotImplemented:
                return made_of
            _WHOLE.add(func)
        outputs = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            macs = int(formula(*args, **kwargs, out_val=outputs)) // 2
            self.macs += macs
            if self._stored:
                self._share(macs, args)
        return outputs

    def _share(self, macs: int, args: tuple[Any, ...]) -> None:
        """Give what an operator multiplied to the weights among its arguments, or to those that these are parts of."""
        found: dict[str, int] = {}
        for value in _flat(args):
            if isinstance(value, Tensor) and value.dim() > 1 and value.numel():
                start = value.storage_offset()
                for first, end, name in self._stored.get(_storage(value), ()):
                    if first <= start < end:
                        found[name] = found.get(name, 0) + value.numel()
        entries = sum(found.values())
        for name, own in found.items():
            self.by_weight[name] += macs * own / entries


def _storage(tensor: Tensor) -> int:
    """Where a tensor's numbers lie, those of its views too; of a kind that does not say so only the tensor itself."""
    try:
        return tensor.untyped_storage().data_ptr()
    except RuntimeError:  # a wrapper of another tensor
        return -id(tensor)


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    """Values, those of lists one by one."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value


def _product_with_vector(*args: Any, out_val: Any, **kwargs: Any) -> int:
    """mv, dot, addmv and the like: two operations an entry of the largest operand."""
    return 2 * max(value.numel() for value in args if isinstance(value, Tensor))


def _addbmm(start: Tensor, first: Tensor, second: Tensor, *args: Any, out_val: Any, **kwargs: Any) -> int:
    return 2 * first.numel() * second.shape[2]


def _trilinear(*args: Any, out_val: Any, **kwargs: Any) -> int:
    """Bilinear layers and their derivatives: one for each combination of the indices of all three operands."""
    shapes = []
    for operand, added in zip(args[:3], args[3:6], strict=True):
        shape = list(operand.shape)
        for axis in added:
            shape.insert(axis, 1)
        shapes.append(shape)
    return 2 * prod(int(size) for size in torch.broadcast_shapes(*shapes))


def _onednn_recurrent(inputs: Tensor, w1: Tensor, w2: Tensor, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """Every weight once a time step and sample."""
    return 2 * (inputs.numel() // inputs.shape[-1]) * (w1.numel() + w2.numel())


def _onednn_recurrent_backward(*args: Any, out_val: Any, **kwargs: Any) -> int:
    return 2 * _onednn_recurrent(*args, out_val=out_val, **kwargs)


def _cudnn_recurrent(inputs: Tensor, weights: list[Tensor], *args: Any, out_val: Any, **kwargs: Any) -> int:
    matrices = sum(weight.numel() for weight in weights if weight.dim() == 2)
    return 2 * (inputs.numel() // inputs.shape[-1]) * matrices


def _cudnn_recurrent_backward(*args: Any, out_val: Any, **kwargs: Any) -> int:
    return 2 * _cudnn_recurrent(*args, out_val=out_val, **kwargs)


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, out_val: Any, **kwargs: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _attention_backward(
    slope: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: Any, out_val: Any, **kwargs: Any
) -> int:
    return int(sdpa_backward_flop_count(slope.shape, query.shape, key.shape, value.shape))


def _whole_attention(
    query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, *weights: Any, out_val: Any, **kwargs: Any
) -> int:
    """Projections of queries, keys, values and outputs, and the attention itself."""
    samples, length, _ = query.shape
    return 2 * samples * length * (4 * width * width + 2 * key.shape[1] * width)


def _transformer_layer(inputs: Tensor, width: int, heads: int, *rest: Any, out_val: Any, **kwargs: Any) -> int:
    """Attention, and two linear layers."""
    linear = sum(value.numel() for value in rest[4:] if isinstance(value, Tensor) and value.dim() == 2)
    own = _whole_attention(inputs, inputs, inputs, width, heads, out_val=out_val)
    return own + 2 * (inputs.numel() // inputs.shape[-1]) * linear


Formula = Callable[..., int]

_FORMULAS: Mapping[Any, Formula] = {
    **dict.fromkeys((aten.mv, aten.dot, aten.vdot, aten.addmv), _product_with_vector),
    aten.addbmm: _addbmm,
    aten._trilinear: _trilinear,
    aten.mkldnn_rnn_layer: _onednn_recurrent,
    aten.mkldnn_rnn_layer_backward: _onednn_recurrent_backward,
    aten._cudnn_rnn: _cudnn_recurrent,
    aten._cudnn_rnn_backward: _cudnn_recurrent_backward,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    aten._native_multi_head_attention: _whole_attention,
    aten._transformer_encoder_layer_fwd: _transformer_layer,
}
"""From an operator to its floating-point operations, two a multiply-accumulate."""

for _operator, _formula in _FORMULAS.items():
    if _operator not in flop_registry:  # a later torch may know it
        register_flop_formula(_operator, get_raw=True)(_formula)

_WHOLE: set[Any] = set()
"""Operators that are known to be made of no others: asking torch anew takes longer than most of them run."""

_QUESTIONS = frozenset(
    (
        aten.sym_is_contiguous.default, aten.is_contiguous.default, aten.is_contiguous.memory_format,
        aten.is_strides_like_format.default, aten.is_non_overlapping_and_dense.default, aten.size.default,
        aten.sym_size.default, aten.stride.default, aten.sym_stride.default, aten.storage_offset.default,
        aten.sym_storage_offset.default, aten.numel.default, aten.sym_numel.default, aten.dim.default,
        torch.ops.prim.layout.default,
    )
)  # fmt: skip
"""Operators that ask for a tensor's form; tensors with one of their own must answer themselves."""
