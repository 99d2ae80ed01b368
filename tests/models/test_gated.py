"""The gated network as a Pyro program."""

from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesprune.models import LeNet300
from bayesprune.models.gated import GatedModel
from bayesprune.models.likelihoods import GaussianLikelihood
from bayesprune.models.priors.gates import FixedGatePrior, FlatteningGatePrior
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.structure import find

INPUTS, LABELS = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 2])
GATES = torch.tensor([1.0, 0, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1])  # 5 inputs, 4 and 3 units


def make(**settings: object) -> GatedModel:
    """A gated perceptron 5-4-3-3 for N = 40 examples."""
    torch.manual_seed(0)
    network = LeNet300((4, 3), (5,), 3)
    structure = find(network, INPUTS)
    return GatedModel(network, structure, FlatteningGatePrior(torch.full((12,), 2.0)), 40, **settings)  # type: ignore[arg-type]  # settings by name


def by_hand(model: GatedModel, gates: Tensor, inputs: Tensor = INPUTS) -> Tensor:
    """The network's outputs with gates [12] or [B, 12] written out."""
    network: Any = model.network
    hidden = network.fc1(inputs * gates[..., :5]).relu() * gates[..., 5:9]
    outputs: Tensor = network.fc3(network.fc2(hidden).relu() * gates[..., 9:])
    return outputs


def conditioned(model: GatedModel, gates: Tensor, labels: Tensor | None = LABELS) -> Any:
    """A trace of the model with its gates (and pi) given."""
    data = {"z": gates, "pi": torch.full_like(gates, 0.3)}
    trace = poutine.trace(poutine.condition(model, data)).get_trace(INPUTS, labels)
    trace.compute_log_prob()
    return trace


def test_joint_density_is_the_formula() -> None:
    """ln p(pi) + ln p(z | pi) + ln p(w) + (N/B) sum_n ln p(y_n | x_n, z, w), every term at its own site."""
    model = make(weight_prior=GaussianSlab(0.5))
    trace = conditioned(model, GATES)
    assert [name for name in trace.nodes if not name.startswith("_")] == ["pi", "z", "weights", "data", "y"]
    parts = {name: trace.nodes[name]["log_prob_sum"] for name in ("pi", "z", "weights", "y")}
    torch.testing.assert_close(parts["y"], -40 / 4 * cross_entropy(by_hand(model, GATES), LABELS, reduction="sum"))
    weights = torch.cat([p.flatten() for p in model.network.parameters()])
    torch.testing.assert_close(parts["weights"], torch.distributions.Normal(0.0, 0.5).log_prob(weights).sum())
    opened, closed = GATES.sum(), (1 - GATES).sum()
    torch.testing.assert_close(parts["z"], opened * torch.tensor(0.3).log() + closed * torch.tensor(0.7).log())
    gamma = torch.tensor(2.0).exp()
    torch.testing.assert_close(parts["pi"], 12 * ((gamma - 1) / 2 / (1 + (gamma - 1) * 0.3)).log())
    torch.testing.assert_close(trace.log_prob_sum(), torch.stack(list(parts.values())).sum())


@pytest.mark.parametrize("rows", [1, 4])
def test_outputs_under_global_gates_and_gates_for_each_example(rows: int) -> None:
    """[J] for all, [B, J] each its own; gates need not be 0 or 1."""
    model = make()
    torch.manual_seed(1)
    many = torch.rand(4, 12)
    gates = many[0] if rows == 1 else many
    torch.testing.assert_close(model.outputs(INPUTS, gates), by_hand(model, gates))
    weights = {name: 2 * p.detach() for name, p in model.network.named_parameters()}
    other = make()
    other.network.load_state_dict(weights)
    torch.testing.assert_close(model.outputs(INPUTS, gates, weights), by_hand(other, gates))


def test_gates_are_off_outside_and_gone_after_close() -> None:
    model = make()
    plain = model.network(INPUTS)
    model.outputs(INPUTS, 0 * GATES)
    torch.testing.assert_close(model.network(INPUTS), plain)
    model.close()
    assert not any(module._forward_pre_hooks for module in model.network.modules())
    torch.testing.assert_close(model.network(INPUTS), by_hand(model, torch.ones(12)))


def test_without_labels_it_draws_them() -> None:
    """The prior predictive: labels in proportion to the softmax of the outputs."""
    model = make()
    torch.manual_seed(0)
    with torch.no_grad():
        draws = torch.stack([conditioned(model, GATES, None).nodes["y"]["value"] for _ in range(600)])
    assert draws.shape == (600, 4)
    frequency = torch.stack([(draws == label).float().mean(0) for label in range(3)], 1)
    expected = torch.softmax(by_hand(model, GATES), 1)
    assert bool(((frequency - expected).abs() < 4 * (expected * (1 - expected) / 600).sqrt()).all())
    assert model(INPUTS).shape == (4,)


def test_weights_as_sites() -> None:
    """Every tensor a site, its value what the network runs with; no factor besides."""
    model = make(weight_sites=True, weight_prior=GaussianSlab(0.7))
    trace = conditioned(model, GATES)
    names = [name for name in trace.nodes if name.startswith("w.")]
    assert names == [f"w.{name}" for name, _ in model.network.named_parameters()]
    assert "weights" not in trace.nodes
    other = make()
    other.network.load_state_dict({name[2:]: trace.nodes[name]["value"] for name in names})
    expected = -40 / 4 * cross_entropy(by_hand(other, GATES), LABELS, reduction="sum")
    torch.testing.assert_close(trace.nodes["y"]["log_prob_sum"], expected)


def test_parts_are_exchangeable() -> None:
    """Another gate prior and another likelihood: their own sites, the same program."""
    torch.manual_seed(0)
    network = LeNet300((4, 3), (5,), 2)
    prior = FixedGatePrior(torch.full((12,), 0.2))
    model = GatedModel(network, find(network, INPUTS), prior, 4, likelihood=GaussianLikelihood(0.5))
    labels = torch.randn(4, 2)
    trace = poutine.trace(poutine.condition(model, {"z": GATES})).get_trace(INPUTS, labels)
    trace.compute_log_prob()
    assert "pi" not in trace.nodes
    expected = torch.distributions.Normal(by_hand(model, GATES), 0.5).log_prob(labels).sum()
    torch.testing.assert_close(trace.nodes["y"]["log_prob_sum"], expected)


def test_nothing_enters_pyro_s_parameter_store() -> None:
    pyro.clear_param_store()
    model = make()
    conditioned(model, GATES)
    assert list(pyro.get_param_store().keys()) == []
    assert [id(p) for p in model.parameters()] == [id(p) for p in model.network.parameters()]
