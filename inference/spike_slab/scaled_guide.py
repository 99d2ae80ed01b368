"""The guide of spike-and-slab nodes with a scale each."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayesprune.inference.guides import GateGuide
from bayesprune.inference.relaxed import LogitGateGuide
from bayesprune.inference.spike_slab.scales import NodeScales
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.scales import ScaledSlab, node_places, node_sizes, scaled, spread
from bayesprune.structure import Structure


class ScaledGateGuide(LogitGateGuide):
    """Gates with a logit each, and weights `scale_i (mean + deviation eps)` with a scale of each node's own.

    The network's parameters are the means before scaling (non-centred), until `fold` multiplies the scales into them.
    The divergence of means and deviations is gated, that of the scales is not.

    Attributes:
        scales: their law.
        folded: 1 once the scales are part of the network's parameters.

    Args:
        model: see `GaussianWeightGuide`.
        start: initial inclusion probability, strictly inside (0, 1).
        scales: makes their law from the number of weights of each gate's node [J].
        settings: of `LogitGateGuide`.
    """

    folded: Tensor

    def __init__(
        self, model: GatedModel, start: float, *, scales: Callable[[Tensor], NodeScales], **settings: Any
    ) -> None:
        super().__init__(model, start, kind="prior_when_closed", **settings)
        self.scales = scales(node_sizes(model.network, model.structure).to(self.logit))
        self.register_buffer("folded", torch.zeros(()))
        self._places = self._placed(model)

    def gate_parameters(self) -> list[nn.Parameter]:
        """What is cut along when gates are removed."""
        return super().gate_parameters() + self.scales.gate_parameters()

    def slab(self, network: nn.Module, structure: Structure) -> ScaledSlab:
        """The prior of the weights for the network as it is now."""
        return self.scales.slab(self._scale, node_places(network, structure))

    def median_scales(self) -> Tensor:
        """The scale [J] that each node's mean weights are multiplied by: the median, or 1 once they are folded."""
        return torch.where(self.folded > 0, 1.0, self.scales.median().detach())

    def sample_weights(self) -> dict[str, Tensor]:
        """scale (mean + deviation noise), by name."""
        scale, places = self.scales.draw(), self._places
        return {name: scaled(w, places.get(name, ()), scale) for name, w in super().sample_weights().items()}

    def weight_penalty(self, theta: Tensor) -> Tensor:
        """The gated KL of the weights before scaling, and that of the scales (nats)."""
        return super().weight_penalty(theta) + self.scales.divergence()

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        """Sample "z", the scales, and the weights, which look at both."""
        gates = GateGuide.forward(self, inputs, labels)
        scale, places = spread(self.scales.sample_sites(), self.scales.nodes), self._places
        shares = self._shares(gates)
        for name, own, log_deviation in self._weights():
            mean: Tensor = own
            deviation = log_deviation.exp()
            for axis, share in shares.get(name, ()):
                is_open = share.reshape([-1 if a == axis else 1 for a in range(mean.dim())]).expand_as(mean)
                mean, deviation = mean * is_open, torch.lerp(torch.full_like(mean, self._scale), deviation, is_open)
            at = places.get(name, ())
            law = dist.Normal(scaled(mean, at, scale), scaled(deviation, at, scale), validate_args=False)
            pyro.sample(f"w.{name}", law.to_event(mean.dim()))
        return gates

    def bind(self, model: GatedModel) -> None:
        """See `GaussianWeightGuide.bind`."""
        super().bind(model)
        self._places = self._placed(model)

    def _placed(self, model: GatedModel) -> dict[str, list[tuple[int, Tensor]]]:
        """Where nodes' weights lie, on the guide's device: copied there once, not at every step."""
        device = self.logit.device
        found = node_places(model.network, model.structure)
        return {name: [(axis, gates.to(device)) for axis, gates in where] for name, where in found.items()}

    def fold(self, network: nn.Module, structure: Structure) -> None:
        """Multiply the scales' medians into the means, which are the network's parameters, for good."""
        _multiply(network, structure, self.median_scales())
        self.folded.fill_(1.0)

    def unfold(self, network: nn.Module, structure: Structure) -> None:
        """Divide a network's parameters by the scales' medians: with the scales it says what it said without."""
        _multiply(network, structure, 1 / self.median_scales())


@torch.no_grad()
def _multiply(network: nn.Module, structure: Structure, scale: Tensor) -> None:
    for name, places in node_places(network, structure).items():
        parameter = network.get_parameter(name)
        parameter.copy_(scaled(parameter, places, scale.to(parameter.device)))
