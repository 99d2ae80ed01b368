"""A network with gates as a Pyro model."""

from typing import Any

import pyro
from pyro.poutine.runtime import am_i_wrapped
from torch import Tensor, nn
from torch.func import functional_call

from bayesprune.batches import arguments_of, call, count
from bayesprune.devices import widened
from bayesprune.models.likelihoods import CategoricalLikelihood, Likelihood
from bayesprune.models.parameters import are_collected, tell_all
from bayesprune.models.priors.gates import GatePrior
from bayesprune.models.priors.weights import GaussianSlab, WeightPrior, slab_parameters
from bayesprune.structure import Gating, Structure


class GatedModel(nn.Module):
    """The joint law of gates, weights and labels; every part is an object that can be exchanged.

    Sites, all global: "pi" and "z" from the gate prior, the weights, and "y" inside the plate "data":

        pi_j ~ FlatteningHyperPrior(gamma_j),  z_j | pi_j ~ Bernoulli(pi_j),  w ~ N(0, s^2),
        y | x ~ likelihood(network(x; gates z, weights w)).

    The weights are the network's own parameters, whose log prior is the factor "weights"; with `weight_sites=True`
    they are sampled sites instead ("w.<parameter>"), for guides over weights, NUTS and prior draws. Gates may also be
    given for each example [B, J] by a handler; the model does not mind.

    It is a plain `nn.Module`, so nothing enters Pyro's parameter store; to `pyro.infer.SVI`, which collects parameters
    as the program runs, it tells its own.

    Args:
        network: the network to be gated.
        structure: its groups.
        gate_prior: a prior over the J gates.
        size: number N of training examples; scales a mini-batch up to the whole.
        weight_prior: a prior over the weights.
        likelihood: turns outputs into a distribution over labels.
        weight_sites: sample the weights instead of using the network's own.
    """

    def __init__(
        self,
        network: nn.Module,
        structure: Structure,
        gate_prior: GatePrior,
        size: int,
        *,
        weight_prior: WeightPrior | None = None,
        likelihood: Likelihood | None = None,
        weight_sites: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.structure, self.size = network, structure, size
        self.gate_prior = gate_prior
        self.weight_prior = weight_prior or GaussianSlab()
        self.likelihood = likelihood or CategoricalLikelihood()
        self.weight_sites = weight_sites
        self._gating = Gating(network, structure)
        self._slab = tuple(slab_parameters(network).values())

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Run the program, also one of a subclass, and tell the parameters to who collects them."""
        self.tell_parameters()
        return super().__call__(*arguments, **named)

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        """Run the program on inputs of B examples and, when observed, their targets; returns targets.

        The batch was drawn by the caller, so the plate is told its size only: left to itself Pyro would permute all
        N indices at every step.
        """
        gates = self.gate_prior.sample_gates()
        weights = self._weights()
        rows: Any = range(count(inputs))  # only its length is looked at
        with pyro.plate("data", self.size, subsample=rows, dim=-1):
            return pyro.sample("y", self.likelihood(self.outputs(inputs, gates, weights)), obs=labels)

    def outputs(self, inputs: Any, gates: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """The network's outputs [B, K] under gates [J] or [B, J]."""
        with self._gating.applied(gates, drawn_weights=self.weight_sites):
            if weights:
                said = functional_call(self.network, weights, *arguments_of(self.network, inputs))
            else:
                said = call(self.network, inputs)
            outputs: Tensor = widened(said)
            return outputs

    def weight_log_prob(self) -> Tensor:
        """Log prior (nats) of the network's own weights."""
        return self.weight_prior.log_prob(self.network, self._slab)

    def tell_parameters(self) -> None:
        """Where parameters are collected, say those that learn; weights that are sites are the guide's to say."""
        if not are_collected():
            return
        sites = {id(parameter) for parameter in self._slab} if self.weight_sites else set()
        tell_all("model", self, leave=sites)
        held = getattr(self.likelihood, "likelihood", None)  # a task's likelihood, held by an object that is no module
        if isinstance(held, nn.Module):
            tell_all("model.likelihood", held)

    def close(self) -> None:
        """Take the gates' hooks off the network."""
        self._gating.remove()

    def _weights(self) -> dict[str, Tensor]:
        """Weights from their sites, or none, with the prior of the network's own as a factor."""
        if self.weight_sites:
            return self.weight_prior.sample(self.network)
        if am_i_wrapped():  # called by itself the program only draws, and Pyro would warn of a factor
            pyro.factor("weights", self.weight_log_prob())
        return {}
