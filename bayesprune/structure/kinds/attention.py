"""Attention of torch by whole heads."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, scaled_dot_product_attention

from bayesprune.errors import InputShapeError
from bayesprune.structure.kinds.base import LayerKind, register
from bayesprune.structure.kinds.inside import Inside, Place


class HeadAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` of which heads, or features of inputs and outputs, were removed.

    torch's own can have no other width of a head than embed_dim / num_heads. This one keeps the width of a head and
    has the same parameters, names, arguments and outputs. It is made from one of torch's by `resize`, in place, and
    never takes torch's fast path, whose operators count on that quotient. Averaged attention weights are those of the
    heads that are left.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; arguments and outputs are those of `nn.MultiheadAttention`."""
        batched, last = query.dim() == 3, self.batch_first and query.dim() == 3
        q, k, v = self._projected(*(self._batch_first(each, batched) for each in (query, key, value)))
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(len(k), -1, -1)], 1)
            v = torch.cat([v, self.bias_v.expand(len(v), -1, -1)], 1)
        q, k, v = (each.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for each in (q, k, v))
        if self.add_zero_attn:
            k, v = (torch.cat([each, torch.zeros_like(each[:, :, :1])], 2) for each in (k, v))
        mask = self._mask(q, k, attn_mask, key_padding_mask, batched)
        weights = None
        if need_weights:
            scores = q * self.head_dim**-0.5 @ k.transpose(-2, -1)
            weights = torch.softmax(scores if mask is None else scores + mask, -1)
            weights = dropout(weights, self.dropout, self.training)
            said = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            said = scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        said = linear(said.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias)
        if not batched:
            return said[0], None if weights is None else weights[0]
        return said if last else said.transpose(0, 1), weights

    def _batch_first(self, features: Tensor, batched: bool) -> Tensor:
        """Features [N, L, E]."""
        if not batched:
            return features[None]
        return features if self.batch_first else features.transpose(0, 1)

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values [N, L, D] of all heads."""
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        if self.in_proj_weight is not None:
            weights: Any = self.in_proj_weight.chunk(3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        return tuple(map(linear, (query, key, value), weights, biases))

    def _mask(
        self, q: Tensor, k: Tensor, attention: Tensor | None, padding: Tensor | None, batched: bool
    ) -> Tensor | None:
        """What is added to the scores [N, heads, L, S]; None for nothing."""
        (samples, _, length, _), total = q.shape, None
        if attention is not None:
            if attention.dim() == 3:
                if len(attention) != samples * self.num_heads:
                    raise InputShapeError(
                        f"an attention mask of shape {tuple(attention.shape)} for {self.num_heads} heads that are left "
                        f"and {samples} examples: give one of shape [{length}, {attention.shape[-1]}] for all heads"
                    )
                attention = attention.unflatten(0, (samples, self.num_heads))
            total = _added(attention, q)
        if padding is not None:
            padding = _added(padding if batched else padding[None], q)[:, None, None]
            total = padding if total is None else total + padding
        missing = 0 if total is None else k.shape[2] - total.shape[-1]
        return nn.functional.pad(total, (0, missing)) if total is not None and missing else total


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as numbers that are added: minus infinity where it is true."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))


def leave_fast_path(network: nn.Module) -> None:
    """Let encoders no longer nest their inputs where an attention of theirs cannot take nested ones."""
    for module in network.modules():
        if isinstance(module, nn.TransformerEncoder) and any(isinstance(m, HeadAttention) for m in module.modules()):
            module.use_nested_tensor = False


def _trouble(layer: nn.Module) -> str | None:
    own = type(layer) not in (nn.MultiheadAttention, HeadAttention)
    return "is an attention with a forward pass of its own" if own else None


def _resize(layer: Any, _: int | None) -> None:
    packed = layer.in_proj_weight is not None
    rows = len(layer.in_proj_weight) // 3 if packed else len(layer.q_proj_weight)
    reads = [layer.in_proj_weight] * 3 if packed else [layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight]
    widths = [weight.shape[1] for weight in reads]
    found, former = (rows, len(layer.out_proj.weight), *widths), layer.num_heads * layer.head_dim
    if type(layer) is nn.MultiheadAttention and found == (former, former, former, layer.kdim, layer.vdim):
        return
    layer.__class__ = HeadAttention
    layer._qkv_same_embed_dim = False  # by which torch knows that its fast path is not to be taken
    layer.num_heads, layer.embed_dim = rows // layer.head_dim, len(layer.out_proj.weight)
    layer.kdim, layer.vdim = widths[1:]


def heads_inside(layer: Any) -> Inside | None:
    """An attention's heads, and the features of its inputs and its output."""
    if _trouble(layer) is not None:
        return None
    own = torch.arange(layer.num_heads).repeat_interleave(layer.head_dim)
    written, read, arguments = [], [], ("query", "key", "value")
    if layer.in_proj_weight is not None:
        written.append(Place("heads", "", "in_proj_weight", 0, own.repeat(3)))
        read.append(Place("query", "", "in_proj_weight", 1, torch.arange(layer.in_proj_weight.shape[1])))
    else:
        for argument, letter in zip(arguments, "qkv", strict=True):
            tensor = f"{letter}_proj_weight"
            written.append(Place("heads", "", tensor, 0, own))
            read.append(Place(argument, "", tensor, 1, torch.arange(getattr(layer, tensor).shape[1])))
    if layer.in_proj_bias is not None:
        written.append(Place("heads", "", "in_proj_bias", 0, own.repeat(3)))
    if layer.bias_k is not None:
        written += [Place("heads", "", tensor, 2, own) for tensor in ("bias_k", "bias_v")]
    read.append(Place("heads", "out_proj", "weight", 1, own))
    says = torch.arange(len(layer.out_proj.weight))
    biased = ("weight",) if layer.out_proj.bias is None else ("weight", "bias")
    written += [Place("output", "out_proj", tensor, 0, says) for tensor in biased]
    return Inside(
        {"heads": layer.num_heads},
        tuple(written),
        tuple(read),
        arguments,
        "output",
        says,
        tied={} if layer.in_proj_weight is None else {"key": "query", "value": "query"},
        macs=written[0],
    )


register(LayerKind((nn.MultiheadAttention,), trouble=_trouble, resize=_resize, opaque=True, inside=heads_inside))
