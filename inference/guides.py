"""Guides: independent gates, and weights that are a point or Gaussian."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from math import log
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.nn.module import PyroModule
from torch import Tensor, nn

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.local_noise import local_noise
from bayesprune.models.gated import GatedModel
from bayesprune.models.parameters import are_collected, own_store, tell, tell_all
from bayesprune.models.priors.gates import GatePrior
from bayesprune.models.priors.weights import GaussianSlab, slab_parameters
from bayesprune.structure import Structure
from bayesprune.structure.selectors import is_wrapper

WeightGuide = nn.Module | Callable[[Any], nn.Module]
"""A guide over all sites but the gates', or what makes one of the model without them, e.g. Pyro's `AutoNormal`."""


INDEPENDENT, PRIOR_WHEN_CLOSED = "independent", "prior_when_closed"
"""Kinds of `GaussianWeightGuide`."""


class GateGuide(nn.Module):
    """`z_j ~ Bernoulli(theta_j)`, pi at its most probable value, weights a point or by a guide of Pyro's.

        GateGuide(model)                                    # the network's own weights
        GateGuide(model, weights=AutoNormal)                # Gaussian weights; the model has weight_sites=True
        GateGuide(model, weights=partial(AutoNormal, init_scale=0.01))

    A guide over weights makes its parameters when the guide first runs, as Pyro's do; they are the guide's own, and
    none enters Pyro's global store.

    Attributes:
        theta: inclusion probabilities [J], a parameter that lives in the box [0, 1]; it is projected, not transformed.
        weights: the guide over all other sites; None for a point.
        weight_sites: whether its model samples the weights.
        masks: by parameter name, multiplied into the noise of weights that have some: masked ones are 0 and stay so.

    Args:
        model: whose gate prior says where pi stands.
        start: initial inclusion probability in [0, 1], or one for each gate [J]; 0 and 1 are decided gates.
        weights: a guide over all sites but "pi" and "z", or what makes one of the model without these two.

    Raises:
        SettingError: a probability lies outside of [0, 1]; a guide over weights is given for a model without sites.
    """

    weight_sites = False

    def __init__(self, model: GatedModel, start: float | Tensor = 0.5, *, weights: WeightGuide | None = None) -> None:
        super().__init__()
        self.masks: Mapping[str, Tensor] = {}
        theta = torch.as_tensor(start, dtype=torch.get_default_dtype())
        if not bool(((theta >= 0) & (theta <= 1)).all()):
            raise SettingError(f"inclusion probabilities must lie in [0, 1], not {start}")
        self.begin_gates(theta.expand(model.structure.gate_count).clone())
        self._model = [model]
        self._store: Any = None  # of the guide over weights: its parameters by Pyro's names
        self.weights: nn.Module | None = None
        if weights is not None:
            self.weights = _guide_over_weights(model, weights)
            self._shapes = _shapes(model)

    @property
    def size(self) -> int:
        """Training examples N of the model that the guide is bound to."""
        return self._model[0].size

    def begin_gates(self, theta: Tensor) -> None:
        """Make theta [J], or what it is computed from, a parameter."""
        self.theta = nn.Parameter(theta)

    def open_all(self) -> None:
        """What is left is open for good."""
        with torch.no_grad():
            self.theta.fill_(1.0)

    def bind(self, model: GatedModel) -> None:
        """Go on with a new model, after the network has shrunk.

        Raises:
            SettingError: a guide over weights cannot follow.
        """
        if self.weights is not None and self._shapes != _shapes(model):
            raise SettingError("a guide over weights cannot follow a network that shrinks: use a GateGuide without")
        self._model = [model]

    def gate_parameters(self) -> list[nn.Parameter]:
        """What is cut along when gates are removed."""
        return [self.theta]

    def tell_parameters(self) -> None:
        """Where parameters are collected, as `pyro.infer.SVI` does, say those that learn."""
        if are_collected():
            tell_all("guide", self)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Run the program, also one of a subclass, and tell the parameters to who collects them."""
        self.tell_parameters()
        return super().__call__(*arguments, **named)

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        """Sample "pi" (a point) and "z" [J], then what the guide over weights samples."""
        gates = sample_gates(self.theta, self._model[0].gate_prior)
        if isinstance(self.weights, PyroModule):
            with own_store(self._store) as self._store:  # two guides would share weights else
                self.weights(inputs, labels)
        elif self.weights is not None:
            self.weights(inputs, labels)
        return gates

    def weight_penalty(self, theta: Tensor) -> Tensor | None:
        """The weights' part of the negative ELBO in nats, when the guide is over weights; None for a point."""
        return None

    def sample_weights(self) -> dict[str, Tensor]:
        """One reparametrised draw of the weights by name; none for a point."""
        return {}

    def local_noise(self) -> AbstractContextManager[None]:
        """For a while layers say what weights drawn for each example say, where `sample_weights` leaves that open."""
        return nullcontext()


class GaussianWeightGuide(GateGuide):
    """Independent gates and mean-field Gaussian weights `w ~ N(mean, deviation^2)`.

    The means are the network's own parameters. Two kinds: "independent", where weights and gates are independent in
    the guide and the KL of every weight counts in full, and "prior_when_closed" (SS-IG's gated KL; Jantre et al.,
    arXiv 2108.11000), where a closed node's weights fall back to the slab, so that each weight's KL is multiplied by
    the probability that the gates it belongs to are open. The deviations have the shapes of the weights and are cut
    along when the network shrinks (`TrainState.shrink`).

    Args:
        model: with `weight_sites=True` and a `GaussianSlab` as weight prior.
        start: initial inclusion probability.
        deviation: initial standard deviation of every weight.
        kind: "independent" or "prior_when_closed".
        draws: "batch", one draw of the weights for a whole mini-batch, or "example", one for each example, which
            linear layers take (`inference.local_noise`); others keep to one a batch.
    """

    weight_sites = True
    kinds = (INDEPENDENT, PRIOR_WHEN_CLOSED)
    drawn_for = ("batch", "example")

    def __init__(
        self,
        model: GatedModel,
        start: float | Tensor = 0.5,
        deviation: float = 0.01,
        kind: str = INDEPENDENT,
        draws: str = "batch",
    ) -> None:
        super().__init__(model, start)
        if draws not in self.drawn_for:
            raise UnknownNameError("draws", draws, self.drawn_for)
        if kind not in self.kinds:
            raise UnknownNameError("weight guide", kind, self.kinds)
        if not isinstance(model.weight_prior, GaussianSlab) or model.weight_prior.scale == float("inf"):
            raise SettingError("Gaussian weights need a GaussianSlab of finite scale as weight prior")
        if not deviation > 0:
            raise SettingError(f"the initial deviation must be > 0, not {deviation}")
        self.kind, self.draws, self._scale = kind, draws, model.weight_prior.scale
        network = model.network
        self.log_deviation = nn.ParameterDict(
            {_key(network, name): torch.full_like(p, log(deviation)) for name, p in slab_parameters(network).items()}
        )

    def tell_parameters(self) -> None:
        """The means too, which are the network's parameters."""
        super().tell_parameters()
        if are_collected():
            for name, mean, _ in self._weights():
                tell(f"guide.mean.{name}", mean)

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        """Sample "pi", "z" and the weights, which under "prior_when_closed" look at z."""
        gates = super().forward(inputs, labels)
        shares = self._shares(gates)
        for name, own, log_deviation in self._weights():
            mean: Tensor = own
            deviation = log_deviation.exp()
            if name in shares:
                is_open = _product(torch.ones_like(mean), shares[name])
                mean, deviation = mean * is_open, torch.lerp(torch.full_like(mean, self._scale), deviation, is_open)
            pyro.sample(f"w.{name}", dist.Normal(mean, deviation, validate_args=False).to_event(mean.dim()))
        return gates

    def bind(self, model: GatedModel) -> None:
        """Go on with another model, whose network has shrunk by `TrainState.shrink` or not at all.

        Raises:
            SettingError: the deviations are not shaped like the network's weights.
        """
        network = model.network
        shapes = {_key(network, name): parameter.shape for name, parameter in slab_parameters(network).items()}
        if shapes != {name: deviation.shape for name, deviation in self.log_deviation.items()}:
            raise SettingError(
                "Gaussian weights cannot follow a network that shrinks without them: add the guide to the modules of "
                "a TrainState and shrink that"
            )
        super().bind(model)

    def weight_parameters(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """The log deviations by the present names of the network's weights; they are cut along when it shrinks."""
        return {name: self.log_deviation[_key(network, name)] for name in slab_parameters(network)}

    def sample_weights(self) -> dict[str, Tensor]:
        """mean + deviation * noise, by name; the mean alone where `local_noise` is to add the noise.

        That is the law of open nodes for either kind: what a closed node's weights are changes no output.
        """
        local = self._local_layers()
        return {
            name: mean if name.rpartition(".")[0] in local else mean + self._deviation(name, s) * torch.randn_like(mean)
            for name, mean, s in self._weights()
        }

    def local_noise(self) -> AbstractContextManager[None]:
        """With draws for each example: the noise of linear layers, for a while."""
        local = self._local_layers()
        if not local:
            return nullcontext()
        own = {name: self._deviation(name, s) for name, _, s in self._weights() if name.rpartition(".")[0] in local}
        return local_noise(
            {layer: (own[_joined(name, "weight")], own.get(_joined(name, "bias"))) for name, layer in local.items()}
        )

    def weight_penalty(self, theta: Tensor) -> Tensor:
        """Closed-form KL of the Gaussian weights to the slab, gated or not (nats)."""
        total = theta.new_zeros(())
        shares = self._shares(theta)
        for name, mean, log_deviation in self._weights():
            variance = (2 * log_deviation).exp()
            divergence = log(self._scale) - log_deviation + (variance + mean**2) / (2 * self._scale**2) - 0.5
            total = total + _product(divergence, shares.get(name, [])).sum()
        return total

    def _shares(self, gates: Tensor) -> dict[str, list[tuple[int, Tensor]]]:
        """What weights are multiplied by where gates (or theta) matter to them."""
        return open_shares(self._model[0].structure, gates) if self.kind == PRIOR_WHEN_CLOSED else {}

    def _weights(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Name, mean and log deviation of every slab parameter."""
        network = self._model[0].network
        for name, mean in slab_parameters(network).items():
            yield name, mean, self.log_deviation[_key(network, name)]

    def _deviation(self, name: str, log_deviation: Tensor) -> Tensor:
        """Standard deviations of a parameter, 0 where it is masked."""
        deviation = log_deviation.exp()
        return deviation * self.masks[name] if name in self.masks else deviation

    def _local_layers(self) -> dict[str, nn.Linear]:
        """The layers whose weights are drawn for each example, by name."""
        if self.draws != "example":
            return {}
        model = self._model[0]
        uncalled = {reader.layer for reader in model.structure.readers if reader.by_weight}
        return {  # attention calls a subclass's not
            name: layer
            for name, layer in model.network.named_modules()
            if type(layer) is nn.Linear and name not in uncalled
        }


def sample_gates(theta: Tensor, prior: GatePrior) -> Tensor:
    """The sites "pi", a point, and "z" [J] of a guide with inclusion probabilities theta [J]."""
    with torch.no_grad():
        best = prior.best_inclusion(theta)
    if best is not None:
        pyro.sample("pi", dist.Delta(best, validate_args=False).to_event(1))
    gates: Tensor = pyro.sample("z", dist.Bernoulli(theta, validate_args=False).to_event(1))
    return gates


def _guide_over_weights(model: GatedModel, weights: WeightGuide) -> nn.Module:
    """The guide itself, made of the model without its gates where it is not made yet."""
    if type(model) is GatedModel and not model.weight_sites:
        raise SettingError("a guide over weights needs their sites: make the model with weight_sites=True")
    return weights if isinstance(weights, nn.Module) else weights(poutine.block(model, hide=["pi", "z"]))


def _shapes(model: GatedModel) -> dict[str, torch.Size]:
    """Of the weights that may be sites."""
    return {name: parameter.shape for name, parameter in slab_parameters(model.network).items()}


def open_shares(structure: Structure, theta: Tensor) -> dict[str, list[tuple[int, Tensor]]]:
    """For each parameter the axes along which its entries belong to gates, with the probability that those are open.

    A node's incoming weights and bias belong to the node's gate; a selected input's outgoing weights to the input's.
    """
    padded = torch.cat([theta, theta.new_ones(1)])
    shares: dict[str, list[tuple[int, Tensor]]] = {}
    for axis in structure.axes:
        shares.setdefault(axis.parameter, []).append((axis.axis, padded[_there(axis, axis.gates, theta)]))
    for reader in structure.readers:
        if reader.selection is not None:
            selected = padded[_there(reader, reader.selection, theta)]
            shares.setdefault(reader.parameter, []).append((reader.weight_axis, selected))
    return shares


def _there(holder: Any, gates: Tensor, theta: Tensor) -> Tensor:
    """Numbers of gates where theta lies: copied there once."""
    if gates.device == theta.device:
        return gates
    places: dict[str, Tensor] = holder.__dict__.setdefault("_there", {})
    if str(theta.device) not in places:
        places[str(theta.device)] = gates.to(theta.device)
    return places[str(theta.device)]


def _product(values: Tensor, shares: list[tuple[int, Tensor]]) -> Tensor:
    """Values times the shares, each laid along its axis."""
    for axis, share in shares:
        values = values * share.reshape([-1 if a == axis else 1 for a in range(values.dim())])
    return values


def _key(network: nn.Module, name: str) -> str:
    """A parameter's name as a key of a ParameterDict, which allows no dots, without a selector before its layer.

    So the key stays the same while the network shrinks.
    """
    layer, _, tensor = name.rpartition(".")
    parent = layer.rpartition(".")[0]
    if layer and is_wrapper(network.get_submodule(parent)):
        layer = parent
    return _joined(layer, tensor).replace(".", "|")


def _joined(layer: str, tensor: str) -> str:
    """The name of a layer's parameter; the network itself may be the layer."""
    return f"{layer}.{tensor}" if layer else tensor
