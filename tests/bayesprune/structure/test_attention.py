"""Attention that keeps the width of its heads, against torch's and torchvision's own, and inside of torch's encoder."""

from copy import deepcopy
from importlib import import_module
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.data.torchvision_guard import import_torchvision
from bayesprune.structure import Gating, Structure, compact
from bayesprune.structure.kinds import window_attention
from bayesprune.structure.kinds.attention import HeadAttention
from bayesprune.structure.layers import resize, units_inside
from tests.bayesprune.structure.by_hand import ByHand, encoder


def heads_of(network: nn.Module, layer: str) -> Structure:
    hand = ByHand(network)
    inside = units_inside(network.get_submodule(layer))
    assert inside is not None
    hand.inside(layer, heads=hand.group("heads", inside.units["heads"]))
    return hand.build()


def as_ours(layer: nn.MultiheadAttention) -> nn.MultiheadAttention:
    """The same attention with nothing removed, as one of ours."""
    ours = deepcopy(layer)
    ours.__class__ = HeadAttention
    return ours


MASKS = {
    "none": {},
    "causal": {"attn_mask": torch.ones(5, 5).triu(1).bool()},
    "numbers": {"attn_mask": torch.linspace(-1, 1, 25).reshape(5, 5)},
    "padding": {"key_padding_mask": torch.tensor([[False] * 5, [False, False, True, False, True]])},
    "each head": {"attn_mask": torch.linspace(-1, 1, 4 * 2 * 25).reshape(8, 5, 5)},
    "both": {
        "attn_mask": torch.ones(5, 5).triu(1).bool(),
        "key_padding_mask": torch.tensor([[False] * 5, [False, False, True, False, True]]),
    },
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"batch_first": True},
    {"bias": False},
    {"add_bias_kv": True},
    {"add_zero_attn": True, "batch_first": True},
    {"kdim": 8, "vdim": 8, "add_bias_kv": True, "add_zero_attn": True},
    {"kdim": 6, "vdim": 7},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("mask", MASKS)
def test_with_all_heads_it_is_torchs_own(options: dict[str, Any], mask: str) -> None:
    theirs = nn.MultiheadAttention(8, 4, **options).eval()
    ours, masks = as_ours(theirs), MASKS[mask]
    shape = (2, 5) if options.get("batch_first") else (5, 2)
    inputs = (torch.randn(*shape, 8), torch.randn(*shape, theirs.kdim), torch.randn(*shape, theirs.vdim))
    for weights, average in product([True, False], [True, False]):
        asked = {"need_weights": weights, "average_attn_weights": average, **masks}
        for got, expected in zip(ours(*inputs, **asked), theirs(*inputs, **asked), strict=True):
            torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_unbatched_inputs(options: dict[str, Any]) -> None:
    theirs = nn.MultiheadAttention(8, 4, **options).eval()
    inputs = (torch.randn(5, 8), torch.randn(6, theirs.kdim), torch.randn(6, theirs.vdim))
    padding = torch.tensor([False, True, False, False, False, True])
    masks = {"attn_mask": torch.ones(5, 6).triu(2).bool(), "key_padding_mask": padding}
    for got, expected in zip(as_ours(theirs)(*inputs, **masks), theirs(*inputs, **masks), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("weights", [True, False])
def test_the_mean_over_dropout_is_attention_without(weights: bool) -> None:
    """Weights of attention enter the output linearly; 4,000 draws, 5 standard errors."""
    layer = as_ours(nn.MultiheadAttention(8, 4, dropout=0.5, batch_first=True))
    tokens = torch.randn(1, 5, 8)
    many = tokens.expand(4000, -1, -1)
    with torch.no_grad():
        expected = layer.eval()(tokens, tokens, tokens, need_weights=weights)[0]
        said = layer.train()(many, many, many, need_weights=weights)[0]
    error = said.std(0) / len(said) ** 0.5
    assert float(error.min()) > 0 and float(((said.mean(0) - expected[0]).abs() / error).max()) < 5


def test_a_head_is_the_part_of_the_sum_that_it_adds() -> None:
    """By hand: with the heads 0 and 2 left, their values alone reach the output."""
    layer = nn.MultiheadAttention(8, 4, batch_first=True).eval()
    tokens = torch.randn(2, 5, 8)
    q, k, v = nn.functional.linear(tokens, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
    expected = layer.out_proj.bias.expand(2, 5, 8)
    for head in (0, 2):
        own = slice(2 * head, 2 * head + 2)
        weights = torch.softmax(q[..., own] @ k[..., own].transpose(1, 2) / 2**0.5, -1)
        expected = expected + weights @ v[..., own] @ layer.out_proj.weight[:, own].T
    compact(layer, heads_of(layer, ""), torch.tensor([True, False, True, False]))
    assert isinstance(layer, HeadAttention) and (layer.num_heads, layer.head_dim, layer.embed_dim) == (2, 2, 8)
    torch.testing.assert_close(layer(tokens, tokens, tokens)[0], expected)


@pytest.mark.parametrize("grad", [torch.no_grad, torch.enable_grad])
def test_torchs_encoder_never_takes_its_fast_path_with_fewer_heads(grad: Any) -> None:
    """Also with padding, for which it would nest its inputs."""
    layer = nn.TransformerEncoderLayer(8, 4, 9, 0.0, batch_first=True)
    network = nn.TransformerEncoder(layer, 2).eval()
    assert network.use_nested_tensor
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    structure = heads_of(network, "layers.0.self_attn")
    gates = torch.tensor([True, False, False, True])
    tokens = torch.randn(2, 5, 8)
    with torch.no_grad():  # the closed heads' columns are 0
        by_hand = deepcopy(network)
        closed = ~gates.repeat_interleave(2)
        by_hand.get_parameter("layers.0.self_attn.out_proj.weight")[:, closed] = 0.0
        by_hand.use_nested_tensor = False
        expected = by_hand(tokens, src_key_padding_mask=padding)
    compact(network, structure, gates)
    with grad():
        said = network(tokens, src_key_padding_mask=padding)
    torch.testing.assert_close(said[~padding], expected[~padding])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_with_padding_can_be_gated() -> None:
    """Gates inside of it keep it from nesting its inputs; afterwards it nests them as before."""
    layer = nn.TransformerEncoderLayer(8, 4, 9, 0.0, batch_first=True)
    network = nn.TransformerEncoder(layer, 2).eval()
    tokens, padding = torch.randn(2, 5, 8), torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    hand = ByHand(network)
    hidden = hand.group("layers.0.linear1", 9)
    hand.writes("layers.0.linear1", hidden)
    hand.reads("layers.0.linear2", hidden)
    gates = torch.arange(9) % 2 == 0
    with torch.no_grad():
        gating = Gating(network, hand.build())
        with gating.applied(gates.float()):
            said = network(tokens, src_key_padding_mask=padding)
        gating.remove()
        assert network.use_nested_tensor
        compact(network, hand.build(), gates)
        torch.testing.assert_close(network(tokens, src_key_padding_mask=padding)[~padding], said[~padding])


def test_optimizer_state_and_masks_follow() -> None:
    network, structure, inputs = encoder()
    optimizer = torch.optim.Adam(network.parameters())
    network(inputs).square().mean().backward()
    optimizer.step()
    masks = {name: torch.ones_like(value) for name, value in network.named_parameters() if value.dim() > 1}
    before = optimizer.state[network.get_parameter("1.layers.0.self_attn.in_proj_weight")]["exp_avg"].clone()
    open_gates = torch.ones(structure.gate_count, dtype=torch.bool)
    open_gates[[0, 13]] = False  # a feature of the residual stream, and the second head
    compact(network, structure, open_gates, optimizers=[optimizer], masks=masks)
    weight = network.get_parameter("1.layers.0.self_attn.in_proj_weight")
    assert weight.shape == (27, 11) == masks["1.layers.0.self_attn.in_proj_weight"].shape
    rows = [row for row in range(36) if row % 12 not in (3, 4, 5)]
    torch.testing.assert_close(optimizer.state[weight]["exp_avg"], before[rows][:, 1:])
    network(inputs).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [(9, 9), (8, 6), (3, 3)], ids=str)
def test_windows_with_all_heads_are_torchvisions_own(version: int, size: tuple[int, int]) -> None:
    import_torchvision()
    swin_transformer = import_module(window_attention.HOME)

    name = "ShiftedWindowAttention" + ("V2" if version == 2 else "")

    for shift in ([0, 0], [1, 1], [1, 0]):
        layer = getattr(swin_transformer, name)(8, [3, 3], shift, 2).eval()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.normal_(0, 0.5)
        maps = torch.randn(2, *size, 8)
        expected = layer(maps)
        layer.__class__ = getattr(window_attention, f"Head{name}")
        torch.testing.assert_close(layer(maps), expected)
        assert getattr(import_module(type(layer).__module__), type(layer).__qualname__) is type(layer)  # for pickle


@pytest.mark.parametrize("version", [1, 2])
def test_windows_by_hand(version: int) -> None:
    """The closed head's columns of the projection are 0."""
    import_torchvision()
    swin_transformer = import_module(window_attention.HOME)

    name = "ShiftedWindowAttention" + ("V2" if version == 2 else "")
    layer = getattr(swin_transformer, name)(12, [3, 3], [1, 1], 3).eval()
    maps = torch.randn(2, 6, 6, 12)
    network = nn.Sequential(layer)
    structure = heads_of(network, "0")
    with torch.no_grad():
        by_hand = deepcopy(layer)
        by_hand.proj.weight[:, 4:8] = 0.0
        expected: Tensor = by_hand(maps)
        compact(network, structure, torch.tensor([True, False, True]))
        torch.testing.assert_close(network(maps), expected)
    resize(network[0], None)
    assert network[0].num_heads == 2 and type(network[0]).__name__ == f"Head{name}"
