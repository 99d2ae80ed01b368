"""Gates on weights: derivatives, what is put back, and what is refused."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import layer_norm

from bayesprune.errors import InputShapeError, SettingError, UnsupportedLayerError
from bayesprune.structure import Gating, Structure, compact, fold_multipliers
from bayesprune.structure.masked_norm import masked
from bayesprune.structure.members import Normaliser
from bayesprune.structure.replay import Replay
from tests.bayesprune.structure.by_hand import CASES, ByHand, Case, functional, memory, sequences, vit

GLOBAL = [case for case in CASES if case.name not in ("group norm", "counting")]


@pytest.mark.parametrize("case", GLOBAL, ids=lambda case: case.name)
def test_gradients_of_gates_and_weights_are_those_of_finite_differences(case: Case) -> None:
    network, structure, inputs = case()
    network.double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    generator = torch.Generator().manual_seed(3)
    gates = torch.rand(structure.gate_count, dtype=torch.float64, generator=generator).add_(0.5).requires_grad_()
    reads = network.get_parameter(next(reader.parameter for reader in structure.readers if reader.by_weight))
    gating = Gating(network, structure)

    def loss(values: Tensor) -> Tensor:
        with gating.applied(values):
            said: Tensor = network(inputs).square().mean()
        return said

    slope, along = torch.autograd.grad(loss(gates), [gates, reads])
    step = 1e-6
    with torch.no_grad():
        for gate in range(0, structure.gate_count, 5):
            moved = torch.zeros_like(gates)
            moved[gate] = step
            numerical = (loss(gates + moved) - loss(gates - moved)) / (2 * step)
            assert float(slope[gate]) == pytest.approx(float(numerical), rel=1e-4, abs=1e-8)
        entry = reads.view(-1)[1:2]
        entry += step
        above = loss(gates)
        entry -= 2 * step
        numerical = (above - loss(gates)) / (2 * step)
        assert float(along.view(-1)[1]) == pytest.approx(float(numerical), rel=1e-4, abs=1e-8)


def test_weights_given_for_one_call_are_gated_as_well() -> None:
    """As weights that are drawn: the product by hand is what the call under gates says."""
    network, structure, inputs = functional()
    gates = torch.rand(structure.gate_count)
    weights = {name: torch.randn_like(value) for name, value in network.named_parameters()}
    gating = Gating(network, structure)
    with gating.applied(gates):
        said = functional_call(network, weights, (inputs,))
    hidden = torch.tanh(inputs @ weights["first.weight"].T + weights["first.bias"]) * gates[:8]
    hidden = torch.tanh(hidden @ weights["second.weight"].T + weights["second.bias"]) * gates[8:]
    torch.testing.assert_close(said, hidden @ weights["third.weight"].T + weights["third.bias"])
    assert isinstance(network.get_submodule("second").weight, nn.Parameter)


def test_two_gatings_multiply_and_a_pass_that_fails_puts_all_back() -> None:
    network, structure, inputs = sequences(nn.LSTM)
    before = network(inputs)
    one, other = Gating(network, structure), Gating(network, structure)
    gates = torch.rand(2, structure.gate_count)
    with one.applied(gates[0] * gates[1]):
        expected = network(inputs)
    with one.applied(gates[0]), other.applied(gates[1]):
        torch.testing.assert_close(network(inputs), expected)
    with one.applied(gates[0]), other.applied(gates[1]), pytest.raises(IndexError):
        network(inputs + 100)
    assert torch.equal(network(inputs), before)
    assert all(isinstance(value, nn.Parameter) for value in network.get_submodule("recurrent")._parameters.values())
    one.remove()
    other.remove()
    assert not network._forward_hooks and not network._forward_pre_hooks


@pytest.mark.parametrize("make", [functional, memory, lambda: sequences(nn.GRU)], ids=["function", "heads", "gru"])
def test_gates_for_each_example_are_refused_by_name(make: object) -> None:
    network, structure, inputs = make()  # type: ignore[operator]  # one of the above
    assert not structure.per_example
    parameter = next(reader.parameter for reader in structure.readers if reader.by_weight)
    message = f"for each example, but weight '{parameter}' is gated itself"
    applied = Gating(network, structure).applied(torch.ones(len(inputs), structure.gate_count))
    with pytest.raises(SettingError, match=message):
        applied.__enter__()


def test_only_whole_passes_are_exact_where_weights_are_gated() -> None:
    for network, structure, inputs in (functional(), vit()):
        assert Replay.of(network.eval(), structure, inputs) is None


def test_a_reader_by_weight_cannot_select() -> None:
    network, structure, _ = functional()
    spread = Structure(structure.groups, structure.axes, structure.readers, spread=frozenset(["first"]))
    open_gates = torch.ones(structure.gate_count, dtype=torch.bool)
    open_gates[0] = False
    with pytest.raises(SettingError, match="layer 'second' would have to select what it reads.*keep"):
        compact(network, spread, open_gates)


def test_multipliers_pass_weights_but_no_norm() -> None:
    network, structure, inputs = functional()
    multipliers = torch.rand(structure.gate_count)
    with torch.no_grad(), Gating(network, structure).applied(multipliers):
        expected = network(inputs)
    fold_multipliers(network, structure, multipliers)
    with torch.no_grad():
        torch.testing.assert_close(network(inputs), expected)
    network, structure, _ = vit()
    with pytest.raises(UnsupportedLayerError, match=r"normalise over the channels \('blocks.0.first', .*keep"):
        fold_multipliers(network, structure, torch.full((structure.gate_count,), 0.5))
    fold_multipliers(network, structure, torch.ones(structure.gate_count))  # numbers of gates do no harm


@pytest.mark.parametrize("per_example", [False, True], ids=["global", "each example"])
def test_masked_norm_is_the_norm_of_the_open_features(per_example: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 3, 7, dtype=torch.float64, generator=generator)
    layer = nn.LayerNorm(7, eps=0.3).double()
    nn.init.uniform_(layer.weight, 0.5, 2.0)
    nn.init.uniform_(layer.bias)
    structure = ByHand(layer).build()
    structure = Structure(structure.groups, (), (), norms=(Normaliser("", torch.arange(7)),))
    gates = torch.rand(4, 7, generator=generator) < 0.6
    gates[:, 0] = True
    for row in range(4):
        own = gates[row if per_example else 0]
        small = layer_norm(features[row][:, own], (int(own.sum()),), layer.weight[own], layer.bias[own], 0.3)
        one = masked(layer, features[row], own.double())
        torch.testing.assert_close(one[:, own], small)
    assert structure.per_example


def test_no_open_feature_gives_finite_derivatives() -> None:
    features, gates = torch.randn(2, 5, requires_grad=True), torch.zeros(5, requires_grad=True)
    for layer in (nn.LayerNorm(5), nn.RMSNorm(5)):
        slopes = torch.autograd.grad(masked(layer, features, gates).square().sum(), [features, gates])
        assert all(bool(slope.isfinite().all()) for slope in slopes)


def test_masks_of_heads_that_are_gone_are_refused() -> None:
    network = nn.MultiheadAttention(8, 4, batch_first=True)
    hand = ByHand(network)
    hand.inside("", heads=hand.group("heads", 4))
    structure = hand.build()
    compact(network, structure, torch.tensor([True, False, True, False]))
    tokens, mask = torch.randn(2, 3, 8), torch.zeros(8, 3, 3)
    with pytest.raises(InputShapeError, match=r"mask of shape \(8, 3, 3\) for 2 heads that are left"):
        network(tokens, tokens, tokens, attn_mask=mask)
    assert network(tokens, tokens, tokens, attn_mask=mask[:4])[0].shape == (2, 3, 8)


def test_initial_states_of_the_old_size_are_refused() -> None:
    network, structure, inputs = sequences(nn.LSTM)
    open_gates = torch.ones(structure.gate_count, dtype=torch.bool)
    open_gates[-1] = False
    compact(network, structure, open_gates)
    tokens, states = network.get_submodule("embedding")(inputs), (torch.zeros(1, 4, 5), torch.zeros(1, 4, 5))
    with pytest.raises(RuntimeError, match=r"Expected hidden\[0\] size \(1, 4, 4\)"):
        network.get_submodule("recurrent")(tokens, states)
