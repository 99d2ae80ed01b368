"""Networks on random graphs as Pyro models: generator, graph, weights and data in one joint law."""

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.func import functional_call

from bayesprune.errors import GraphError, InputShapeError, SettingError
from bayesprune.graphs.laws import pairs
from bayesprune.graphs.layered import LayeredGraph
from bayesprune.models.likelihoods import CategoricalLikelihood, Likelihood
from bayesprune.models.networks.vertex_weights import GraphNetwork, network_weights, vertex_shapes
from bayesprune.models.priors.graph_prior import GraphPrior, check_flags, layered_from

_KEPT = 30_000
"""Networks that are kept ready: those of all graphs of 6 vertices."""

Build = Callable[[LayeredGraph], GraphNetwork]


class GraphModel:
    """The joint law of a generator, its graph, weights and data.

    Sites are those of the prior, the weights, and "y":

        graph ~ prior,  w ~ N(0, scale^2),  y | x ~ likelihood(network of the graph with weights w, at x).

    Weights belong to vertices and pairs of vertices (`vertex_shapes`), so that their sites "w.NAME" have the same
    shapes whatever the graph is, and `pyro.infer.Predictive` can stack draws. The graph is the mask: weights where it
    has no edge are not used, and their posterior is the prior. Where Pyro sums over the site "graph", every graph's
    network is run; up to 5 vertices (728 graphs) that is cheap.

    Args:
        prior: of the graph.
        build: from a layered graph to a `GraphMLP` or `GraphRNN` with merge "pre" and, of the latter, a fixed width.
        size: training examples N; scales a mini-batch up to the whole.
        scale: standard deviation of all weights, or by name.
        weights: fixed weights by name, in place of sites; None for none.
        likelihood: of targets given outputs; None for classes.

    Raises:
        SettingError: scales or weights that are none of the network's, or not above 0.
        GraphError: a network whose weights do not belong to vertices.
    """

    def __init__(
        self,
        prior: GraphPrior,
        build: Build,
        size: int,
        *,
        scale: float | Mapping[str, float] = 1.0,
        weights: Mapping[str, Tensor] | None = None,
        likelihood: Likelihood | None = None,
    ) -> None:
        self.prior, self.build, self.size = prior, build, size
        self.likelihood = likelihood or CategoricalLikelihood()
        self._networks: dict[bytes, GraphNetwork] = {}
        n = prior.vertices
        self.shapes = vertex_shapes(build(layered_from(_path(n), n)))
        self.fixed = dict(weights or {})
        scales = dict(scale) if isinstance(scale, Mapping) else dict.fromkeys(self.shapes, float(scale))
        if unknown := [name for name in [*scales, *self.fixed] if name not in self.shapes]:
            raise SettingError(f"the network has no weights {unknown[0]!r}: it has {', '.join(self.shapes)}")
        self.scales = dict.fromkeys(self.shapes, 1.0) | scales
        if not all(0 < one < float("inf") for one in self.scales.values()):
            raise SettingError(f"the scales {self.scales} must be finite and above 0")

    def __call__(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """Run the program on inputs of B examples and, where observed, their targets; returns targets."""
        graph, weights = self.prior(), self.sample_weights()
        outputs = self.outputs(inputs, graph, weights)
        rows: Any = range(len(inputs))  # only its length is looked at
        with pyro.plate("data", self.size, subsample=rows, dim=-1):
            targets: Tensor = pyro.sample("y", self.likelihood(outputs), obs=labels)
        return targets

    def sample_weights(self) -> dict[str, Tensor]:
        """Inside the program: the weights by name, from their sites or fixed."""
        found = dict(self.fixed)
        for name, shape in self.shapes.items():
            if name not in found:
                law: Any = dist.Normal(torch.zeros(shape), self.scales[name]).to_event(len(shape))
                drawn = pyro.sample(f"w.{name}", law)
                found[name] = drawn.reshape(shape) if drawn.numel() == shape.numel() else drawn  # 1s of plates
        return found

    def network(self, graph: Tensor) -> GraphNetwork:
        """The network of one graph [n (n - 1) / 2]; its own parameters are not those of the model."""
        key = graph.detach().bool().cpu().numpy().tobytes()
        if key not in self._networks:
            while len(self._networks) >= _KEPT:
                del self._networks[next(iter(self._networks))]
            with torch.random.fork_rng(devices=[]):  # first weights are not used, and draw no numbers of the program's
                built = self.build(layered_from(graph.detach(), self.prior.vertices))
            self._networks[key] = built.requires_grad_(False)
        return self._networks[key]

    def outputs(self, inputs: Tensor, graph: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """Outputs of the networks of graphs.

        Args:
            inputs: of B examples.
            graph: [n (n - 1) / 2], or [..., 1, n (n - 1) / 2] where Pyro sums over graphs; the last 1 is the place of
                the data's plate.
            weights: by name.

        Returns:
            [B, K], or [..., B, K].

        Raises:
            SettingError: graphs in a plate.
        """
        said = [self._answer(inputs, one, weights) for one in self._each(graph)]
        return _as_batch(said, graph)

    def features(self, inputs: Tensor, graph: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """What the head reads of a network without time: units of the last layer [B, F] of one graph."""
        network = self.network(graph)
        parameters = network_weights(network, weights)
        units = parameters["head.weight"].shape[1]
        eye = torch.eye(units, dtype=inputs.dtype)
        parameters |= {"head.weight": eye, "head.bias": eye.new_zeros(units)}
        found: Tensor = functional_call(network, parameters, (inputs,))
        return found

    def _answer(self, inputs: Tensor, graph: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        network = self.network(graph)
        found: Tensor = functional_call(network, network_weights(network, weights), (inputs,))
        return found

    def _each(self, graph: Tensor) -> Tensor:
        """The graphs [S, n (n - 1) / 2] of a value."""
        check_flags(graph, self.prior.vertices)
        if graph.dim() > 1 and graph.shape[-2] != 1:
            raise SettingError(f"graphs {list(graph.shape)} in a plate: one graph has one network; draw in a loop")
        return graph.reshape(-1, graph.shape[-1])


class GraphRegression(GraphModel):
    """Regression on random graphs whose posterior can be summed exactly: the head's weights are integrated out.

    All weights up to the last layer are fixed numbers of vertices and their pairs; the head's and its bias are
    N(0, scale^2), the noise is N(0, noise^2). With F(x) the units of the last layer and a 1 beside them,

        graph ~ prior,  y | graph ~ N(0, scale^2 F F^T + noise^2 I),

    which is the evidence of Bayesian linear regression. Sites: those of the prior, and "y" [N].

    Args:
        prior: of the graph.
        build: from a layered graph to a `GraphMLP` with merge "pre" and one output.
        scale: standard deviation of the head's weights.
        noise: standard deviation of the noise.
        weights: by name, without the head's; None to draw them from N(0, 1) with `seed`.
        seed: see there.

    Raises:
        SettingError: numbers that are not above 0, or weights of other names.
        GraphError: another kind of network, or one with several outputs.
    """

    def __init__(
        self,
        prior: GraphPrior,
        build: Build,
        *,
        scale: float = 1.0,
        noise: float = 0.1,
        weights: Mapping[str, Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(prior, build, 1, weights=weights)
        if not 0 < scale < float("inf") or not 0 < noise < float("inf"):
            raise SettingError(f"scale {scale} and noise {noise} must be finite and above 0")
        if "around" in self.shapes or self.shapes["head_bias"].numel() != 1:
            raise GraphError("a regression with its head integrated out takes a GraphMLP with classes=1")
        self.scale, self.noise = scale, noise
        random = torch.Generator().manual_seed(seed)
        for name in ("input", "edge", "bias"):
            drawn = torch.randn(self.shapes[name], generator=random)
            self.fixed.setdefault(name, drawn)
        for name in ("head", "head_bias"):
            self.fixed.setdefault(name, torch.zeros(self.shapes[name]))
        self.fixed = {name: one.double() for name, one in self.fixed.items()}

    def __call__(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """Run the program on inputs [N, ...] and, where observed, targets [N]; returns targets."""
        targets: Tensor = pyro.sample("y", self.law(inputs, self.prior()), obs=labels)
        return targets

    def law(self, inputs: Tensor, graph: Tensor) -> Any:
        """N(0, scale^2 F F^T + noise^2 I) of N targets, for one graph or those that Pyro sums over (no plates)."""
        check_flags(graph, self.prior.vertices)
        covariances = [self._covariance(inputs, one) for one in graph.reshape(-1, graph.shape[-1])]
        covariance = torch.stack(covariances).reshape(*graph.shape[:-1], *covariances[0].shape)
        return _WideNormal(covariance.new_zeros(len(inputs)), covariance)

    def log_evidence(self, inputs: Tensor, labels: Tensor, graph: Tensor) -> Tensor:
        """log p(y | graph) (nats) of graphs [..., n (n - 1) / 2] and targets [N].

        Raises:
            InputShapeError: targets of another shape.
        """
        if labels.shape != inputs.shape[:1]:
            raise InputShapeError(
                f"targets {list(labels.shape)}: one number for each of {len(inputs)} inputs is needed"
            )
        found: Tensor = dist.MultivariateNormal.log_prob(self.law(inputs, graph), labels.double())
        return found

    def _covariance(self, inputs: Tensor, graph: Tensor) -> Tensor:
        units = self.features(inputs.double(), graph, self.fixed)
        return self.scale**2 * (units @ units.T + 1) + self.noise**2 * torch.eye(len(units), dtype=units.dtype)


class _WideNormal(dist.MultivariateNormal):
    """In double precision inside, in the default type outside, where Pyro joins it with other sites."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of values [..., N]."""
        found: Tensor = super().log_prob(value.double())
        return found.to(torch.get_default_dtype())

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Values [..., N]."""
        found: Tensor = super().rsample(torch.Size(sample_shape))
        return found.to(torch.get_default_dtype())


def _path(vertices: int) -> Tensor:
    """The flags of a path, which is a graph that every network can have."""
    flags = [high == low + 1 for low, high in pairs(vertices)]
    return torch.tensor(flags, dtype=torch.get_default_dtype())


def _as_batch(said: list[Tensor], graph: Tensor) -> Tensor:
    """[B, K] of one graph, [..., B, K] of many."""
    if graph.dim() == 1:
        return said[0]
    return torch.stack(said).reshape(*graph.shape[:-2], *said[0].shape)
