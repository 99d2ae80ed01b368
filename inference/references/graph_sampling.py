"""Metropolis' method over graphs, and so over the masks of a network, with their generators summed out.

Three proposals, each of which alone leaves the posterior as it is. "flip": one pair of vertices is joined or parted.
"move": one edge goes to a pair that was not joined, so that the number of edges stays; families that fix it allow no
flip. "fresh": a graph drawn from the prior, taken in proportion to the likelihood; from it every graph with positive
probability can be reached, whatever the family.
"""

from collections.abc import Callable
from math import inf, log1p

import numpy as np
import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.graphs.laws import draw_edges, is_connected, pairs
from bayesprune.inference.references.exact_graphs import LogLikelihood, check_likelihood
from bayesprune.inference.references.graph_draws import GraphDraws
from bayesprune.models.priors.graph_prior import GraphPrior
from bayesprune.run.settings import check_integer
from bayesprune.training import Progress

KINDS = ("flip", "move", "fresh")
_SHARES = (0.45, 0.45, 0.1)
_STARTS = 1_000


def sample_graphs(
    prior: GraphPrior,
    log_likelihood: LogLikelihood,
    draws: int,
    *,
    chains: int = 4,
    warm_up: int = 200,
    steps: int | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> GraphDraws:
    """Draw graphs and generators from their posterior given data.

    Args:
        prior: of the graph; every law must be a `OneOf`.
        log_likelihood: of data, from graphs [S, n (n - 1) / 2] to nats [S]; asked once for each graph.
        draws: kept a chain.
        chains: each begins with a draw of the prior.
        warm_up: draws before them that are not kept.
        steps: proposals a draw; None for as many as there are pairs of vertices.
        seed: equal seeds give equal draws.
        progress: called after every chain; its loss is the negative log posterior, nats.

    Raises:
        SettingError: a number that cannot be, a log-likelihood that is none, a law that is no `OneOf`, or no graph of
            the prior under which the data are possible was found to begin with.
        GraphError: the probability of such graphs cannot be computed.
    """
    for name, value, least in (("draws", draws, 1), ("chains", chains, 1), ("warm_up", warm_up, 0), ("seed", seed, 0)):
        check_integer(name, value, least)
    target = _Target(prior, log_likelihood)
    steps = len(target.pairs) if steps is None else steps
    check_integer("steps", steps, 1)
    taken, tried = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    kept: list[list[bytes]] = []
    for chain in range(chains):
        random = np.random.default_rng([seed, chain])
        now = target.start(random)
        own: list[bytes] = []
        for number in range(warm_up + draws):
            kinds = random.choice(3, steps, p=_SHARES).tolist()
            for kind, *uniform in zip(map(KINDS.__getitem__, kinds), *random.random((3, steps)).tolist(), strict=True):
                other = target.proposed(now, kind, uniform[0], uniform[1], random)
                tried[kind] += 1
                if other is not None and log1p(-uniform[2]) < target.gain(now, other, kind):
                    taken[kind] += other != now
                    now = other
            if number >= warm_up:
                own.append(now)
        kept.append(own)
        if progress is not None:
            progress(Progress("graphs", chain + 1, chains, -target.log_p(now)))
    graphs = torch.from_numpy(np.frombuffer(b"".join(b"".join(own) for own in kept), np.uint8).copy())
    of_settings = torch.stack([torch.stack([target.of_settings(one) for one in own]) for own in kept])
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(of_settings.flatten(0, 1), 1, generator=generator).reshape(chains, draws)
    return GraphDraws(
        vertices=prior.vertices, settings=target.settings,
        graphs=graphs.reshape(chains, draws, len(target.pairs)), setting=drawn, of_settings=of_settings,
        log_p=torch.tensor([[target.log_p(one) for one in own] for own in kept], dtype=torch.float64),
        accepted={kind: taken[kind] / max(1, tried[kind]) for kind in KINDS},
    )  # fmt: skip


class _Target:
    """The posterior of a graph, remembered for every graph that was asked for; a graph is its flags as bytes."""

    def __init__(self, prior: GraphPrior, log_likelihood: LogLikelihood) -> None:
        self.prior, self.pairs, self.settings = prior, pairs(prior.vertices), tuple(prior.settings())
        self._log_likelihood = log_likelihood
        shares = np.cumsum([one.probability for one in self.settings])
        self._cumulative = shares / shares[-1]
        self._weights = torch.tensor([one.probability for one in self.settings], dtype=torch.float64).log()
        self._known: dict[bytes, tuple[Tensor, float, float]] = {}
        self._connected: dict[bytes, bool] = {}

    def start(self, random: np.random.Generator) -> bytes:
        """A draw of the prior under which the data are possible."""
        for _ in range(_STARTS):
            graph = self._fresh(random)
            if self._likelihood(graph) > -inf:
                return graph
        raise SettingError(f"the data are impossible under each of {_STARTS:,} graphs of the prior: widen it")

    def proposed(self, now: bytes, kind: str, first: float, second: float, random: np.random.Generator) -> bytes | None:
        """Another graph, by two uniform numbers or drawn; None if it is not connected, or no edge can move."""
        if kind == "fresh":
            return self._fresh(random)
        flags = bytearray(now)
        if kind == "flip":
            flags[int(first * len(flags))] ^= 1
        else:
            there = [place for place, flag in enumerate(flags) if flag]
            free = [place for place, flag in enumerate(flags) if not flag]
            if not free:
                return None
            flags[there[int(first * len(there))]] = 0
            flags[free[int(second * len(free))]] = 1
        other = bytes(flags)
        if other not in self._connected:
            joined = [pair for pair, flag in zip(self.pairs, flags, strict=True) if flag]
            self._connected[other] = is_connected(joined, self.prior.vertices)
        return other if self._connected[other] else None

    def gain(self, now: bytes, other: bytes, kind: str) -> float:
        """Log of the probability with which another graph is taken, where it is below 0."""
        if kind == "fresh":
            return self._likelihood(other) - self._likelihood(now)
        return self.log_p(other) - self.log_p(now)

    def log_p(self, graph: bytes) -> float:
        """Log prior, generators summed out, plus log-likelihood."""
        _, log_prior, log_likelihood = self._at(graph)
        return log_prior + log_likelihood

    def of_settings(self, graph: bytes) -> Tensor:
        """p(generator | graph) [C]."""
        return self._at(graph)[0]

    def _likelihood(self, graph: bytes) -> float:
        return self._at(graph)[2]

    def _at(self, graph: bytes) -> tuple[Tensor, float, float]:
        if graph not in self._known:
            flags = torch.from_numpy(np.frombuffer(graph, np.uint8).astype(np.float64))[None]
            joint = self._weights + torch.cat([self.prior.log_probability(one, flags) for one in self.settings])
            log_prior = float(joint.logsumexp(0))
            possible = log_prior > -inf
            nats = float(check_likelihood(self._log_likelihood(flags), 1)) if possible else -inf
            self._known[graph] = ((joint - log_prior).exp() if possible else joint, log_prior, nats)
        return self._known[graph]

    def _fresh(self, random: np.random.Generator) -> bytes:
        one = self.settings[int(np.searchsorted(self._cumulative, random.random(), side="right"))]
        return draw_edges(self.prior.vertices, one.family, one.parameters, random).tobytes()
