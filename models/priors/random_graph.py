"""Random graphs as a distribution of Pyro's, with exact probabilities of labelled graphs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from bayesprune.errors import GraphError, UnknownNameError
from bayesprune.graphs import FAMILIES, connected_graphs
from bayesprune.graphs.laws import GraphWays, check_vertices, draw_edges, graph_ways
from bayesprune.models.priors._settings import SCALAR, Shape

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "barabasi-albert": ("edges",),
    "watts-strogatz": ("neighbours", "rewire"),
    "erdos-renyi": ("probability",),
}
"""What each generator is told besides the number of vertices."""


class RandomGraph(dist.TorchDistribution):
    """A connected labelled graph of n vertices, as one of the generators of `bayesprune.graphs` makes it.

    A value says which of the pairs (0, 1), (0, 2), ..., (n - 2, n - 1) are joined: [..., n (n - 1) / 2], 0 or 1.
    Probabilities are exact (`bayesprune.graphs.log_probability`) and differentiable in `rewire` and `probability`.

    Args:
        vertices: n, 2 to 20.
        families: names of generators.
        family: which of them, a whole number [...]; None for the first.
        parameters: tensors [...] or numbers by the names in `PARAMETERS`, those of all families.

    Raises:
        UnknownNameError: there is no such family.
        GraphError: a parameter is missing or of no family; later, where no graph has the parameters.
    """

    arg_constraints: dict[str, Any] = {}
    has_enumerate_support = True

    def __init__(
        self,
        vertices: int,
        families: Sequence[str] = FAMILIES,
        family: Tensor | None = None,
        **parameters: Tensor | float,
    ) -> None:
        check_vertices(vertices)
        for name in families:
            if name not in PARAMETERS:
                raise UnknownNameError("family of random graphs", name, FAMILIES)
        needed = {one for name in families for one in PARAMETERS[name]}
        if needed != set(parameters) or not needed:
            raise GraphError(
                f"{' and '.join(families) or 'no families'} with {', '.join(sorted(parameters)) or 'no parameters'}: "
                f"give {', '.join(sorted(needed)) or 'a family'}"
            )
        self.vertices, self.families = vertices, tuple(families)
        self.family = torch.zeros((), dtype=torch.long) if family is None else family
        self.parameters = {name: torch.as_tensor(value) for name, value in parameters.items()}
        batch = torch.broadcast_shapes(self.family.shape, *(one.shape for one in self.parameters.values()))
        super().__init__(batch, torch.Size([vertices * (vertices - 1) // 2]), validate_args=False)

    @property
    def support(self) -> Any:
        """Flags of pairs."""
        return dist.constraints.independent(dist.constraints.boolean, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability (nats) of graphs [..., n (n - 1) / 2], in the default type."""
        return self.wide_log_prob(value).to(torch.get_default_dtype())

    def wide_log_prob(self, value: Tensor) -> Tensor:
        """The same in double precision."""
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        found = torch.full((), -torch.inf, dtype=torch.float64)
        for place, name in enumerate(self.families):
            found = torch.where(self.family == place, self._of_family(name, value), found)
        return found.expand(shape)

    def sample(self, sample_shape: Shape = SCALAR) -> Tensor:
        """Graphs of shape `sample_shape + batch_shape + [n (n - 1) / 2]`; torch's seed decides."""
        shape = torch.Size(sample_shape) + self.batch_shape
        family = self.family.expand(shape).reshape(-1).tolist()
        told = {name: one.detach().expand(shape).reshape(-1).tolist() for name, one in self.parameters.items()}
        random = np.random.default_rng(int(torch.randint(2**62, ())))
        drawn = [
            draw_edges(self.vertices, self.families[kind], {name: some[row] for name, some in told.items()}, random)
            for row, kind in enumerate(family)
        ]
        flags = np.stack(drawn) if drawn else np.zeros((0, self.event_shape.numel()), np.bool_)
        return torch.from_numpy(flags).to(torch.get_default_dtype()).reshape(shape + self.event_shape)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All connected graphs [S, ..., n (n - 1) / 2].

        Raises:
            GraphError: more than 6 vertices.
        """
        flags = torch.from_numpy(connected_graphs(self.vertices)).to(torch.get_default_dtype())
        found = flags.reshape(len(flags), *([1] * len(self.batch_shape)), -1)
        return found.expand(-1, *self.batch_shape, -1) if expand else found

    def expand(self, batch_shape: Any, _instance: Any = None) -> "RandomGraph":
        """The same for a larger batch; parameters stay as small as they are."""
        found = RandomGraph(self.vertices, self.families, self.family, **self.parameters)
        found._batch_shape = torch.Size(batch_shape)
        return found

    def _of_family(self, name: str, value: Tensor) -> Tensor:
        """Log probabilities under one generator, in the shape of value and its own parameters."""
        if name == "erdos-renyi":
            return self._log_sums(name, value, self.parameters["probability"], {})
        if name == "barabasi-albert":
            each, key, x = self.parameters["edges"], "m", torch.zeros(())
        else:
            each, key, x = self.parameters["neighbours"], "neighbours", self.parameters["rewire"]
        found = torch.full((), -torch.inf, dtype=torch.float64)
        for number in each.unique().tolist():
            if number != int(number):
                raise GraphError(
                    f"{name} with {number:g} {'edges a vertex' if key == 'm' else key}: take whole numbers"
                )
            found = torch.where(each == number, self._log_sums(name, value, x, {key: int(number)}), found)
        return found

    def _log_sums(self, name: str, value: Tensor, x: Tensor, numbers: Mapping[str, int]) -> Tensor:
        """The log of sum_r ways[r] x^r (1 - x)^(t - r) over that of all connected graphs."""
        if not bool(((x >= 0) & (x <= 1)).all()) or (name == "erdos-renyi" and not bool((x > 0).all())):
            raise GraphError(f"{name} with a probability beyond 0 to 1, or one of an edge that is 0: take another law")
        rows = value.detach().reshape(-1, value.shape[-1]).bool().cpu().numpy()
        laws: list[GraphWays] = [graph_ways(row, self.vertices, name, **numbers) for row in rows]
        ways = torch.from_numpy(np.stack([law.ways for law in laws])).to(x.device)
        ways = ways.reshape(*value.shape[:-1], -1)
        connected = torch.from_numpy(laws[0].connected).to(x.device)
        possible = (ways > 0).any(-1)
        safe = torch.where(possible[..., None], ways, torch.ones_like(ways))
        logs = _log_sum(safe, x) - _log_sum(connected, x)
        return torch.where(possible, logs, torch.full_like(logs, -torch.inf))


def _log_sum(ways: Tensor, x: Tensor) -> Tensor:
    """log sum_r ways[..., r] x^r (1 - x)^(t - r), in double precision."""
    powers = torch.arange(ways.shape[-1], dtype=torch.float64, device=ways.device)
    x = x.double()[..., None]
    terms = ways.log() + torch.special.xlogy(powers, x) + torch.special.xlog1py(powers.flip(0), -x)
    found: Tensor = terms.logsumexp(-1)
    return found
