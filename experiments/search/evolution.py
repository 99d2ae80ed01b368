"""The search itself: it names candidates, is told how good they are, and names the next ones.

Regularised evolution (Real et al., arXiv 1802.01548): of the youngest ones, the best of a few drawn at random is the
parent, and age alone removes. With cost as second objective the population is the best by non-dominated sorting.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from bayesprune.errors import SettingError
from bayesprune.experiments.search.options import STRATEGIES, SearchOptions
from bayesprune.experiments.search.pareto import fitness, front
from bayesprune.experiments.search.predictor import Predictor, acquired
from bayesprune.experiments.search.spaces import Random, Space

G = TypeVar("G")
_TRIES = 500
"""Genomes that are made until one is new."""


@dataclass(frozen=True)
class Candidate(Generic[G]):
    """A genome that was trained.

    Attributes:
        genome: what it is made from.
        accuracy: on the validation split after the last epoch, in [0, 1].
        cost: multiply-accumulates.
        predicted: mean and standard deviation that the model gave before it was trained; None where none was asked.
    """

    genome: G
    accuracy: float
    cost: int
    predicted: tuple[float, float] | None = None


class Search(Generic[G]):
    """One search: `ask` for genomes, train them, `tell` their accuracies, until `ask` gives none.

    Everything is decided by the settings and by what it is told, so that a search that is made again with what was
    trained before asks for the same genomes. No genome is asked for twice.

    Args:
        space: where it looks.
        options: how.
        cost: of a genome.
        properties: of a genome, from which accuracy is predicted.
    """

    def __init__(
        self,
        space: Space[G],
        options: SearchOptions,
        cost: Callable[[G], int],
        properties: Callable[[G], dict[str, float]],
    ) -> None:
        self.options, self.candidates = options, list[Candidate[G]]()
        self._space, self._cost, self._properties = space, cost, properties
        self._asked: list[tuple[G, tuple[float, float] | None]] = []
        self._known: set[Any] = set()
        self._rows: dict[G, dict[str, float]] = {}
        self._first = np.random.default_rng(options.seed)  # the same draws for all strategies
        self._random = np.random.default_rng([options.seed, 1 + STRATEGIES.index(options.strategy)])

    @property
    def best(self) -> Candidate[G]:
        """The most accurate so far; of equals the cheapest."""
        return max(self.candidates, key=lambda one: (one.accuracy, -one.cost))

    @property
    def front(self) -> list[Candidate[G]]:
        """Those that no other beats in accuracy and cost, from cheap to dear."""
        return sorted((self.candidates[place] for place in front(_points(self.candidates))), key=lambda one: one.cost)

    @property
    def left(self) -> int:
        """How many are still to be trained."""
        return self.options.candidates - len(self.candidates)

    def ask(self) -> list[G]:
        """The genomes to be trained next, all new; none where the search has ended.

        It ends early where the space has no new genomes.

        Raises:
            SettingError: the space holds too few for the first population.
        """
        if self._asked:
            return [genome for genome, _ in self._asked]
        options = self.options
        if not self.candidates:
            self._asked = [(genome, None) for genome in self._new(options.population, self._first, self._draw)]
            if len(self._asked) < options.population:
                limit = "" if options.most_macs is None else f" with at most {options.most_macs:,} MACs"
                raise SettingError(
                    f"the space holds {len(self._asked)} of the {options.population} candidates of the population"
                    f"{limit}: allow more MACs, or take a smaller population or a larger space"
                )
        elif (count := min(options.batch, self.left)) > 0:
            self._asked = self._chosen(count)
        self._known |= {genome for genome, _ in self._asked}
        return [genome for genome, _ in self._asked]

    def tell(self, accuracies: Sequence[float]) -> None:
        """The validation accuracies of what was asked for, in that order."""
        for (genome, predicted), accuracy in zip(self._asked, accuracies, strict=True):
            self.candidates.append(Candidate(genome, float(accuracy), self._cost(genome), predicted))
        self._asked = []

    def _chosen(self, count: int) -> list[tuple[G, tuple[float, float] | None]]:
        """The next candidates by the strategy."""
        if self.options.strategy == "random":
            return [(genome, None) for genome in self._new(count, self._random, self._draw)]
        parents = self._population()
        if self.options.strategy == "evolution":
            return [(one, None) for one in self._new(count, self._random, lambda random: self._child(parents, random))]
        many = count * self.options.offspring
        drawn = round(many * self.options.drawn)
        pool = self._new(many - drawn, self._random, lambda random: self._child(parents, random))
        pool += [one for one in self._new(drawn, self._random, self._draw) if one not in pool]
        return self._promising(pool, count)

    def _promising(self, pool: list[G], count: int) -> list[tuple[G, tuple[float, float] | None]]:
        """Those from which the model expects most; each that is chosen counts as trained, with its predicted mean."""
        told = list(self.candidates)
        chosen: list[tuple[G, tuple[float, float] | None]] = []
        while pool and len(chosen) < count:
            model = Predictor(
                self.options.predictor, [self._row(one.genome) for one in told], [one.accuracy for one in told]
            )
            mean, spread = model.predict([self._row(genome) for genome in pool])
            best = np.array([self._to_beat(self._cost(genome), told) for genome in pool])
            place = int(np.argmax(acquired(self.options.acquisition, mean, spread, best)))
            genome = pool.pop(place)
            chosen.append((genome, (float(mean[place]), float(spread[place]))))
            told.append(Candidate(genome, float(mean[place]), self._cost(genome)))
        return chosen

    def _to_beat(self, cost: int, told: Sequence[Candidate[G]]) -> float:
        """The best accuracy; with cost as objective the best that costs no more, or the worst of all."""
        if not self.options.with_cost:
            return max(one.accuracy for one in told)
        no_dearer = [one.accuracy for one in told if one.cost <= cost]
        return max(no_dearer, default=min(one.accuracy for one in told))

    def _population(self) -> list[tuple[G, tuple[float, ...]]]:
        """The parents, with what tournaments compare."""
        size = self.options.population
        if not self.options.with_cost:
            return [(one.genome, (one.accuracy,)) for one in self.candidates[-size:]]
        scores = fitness(_points(self.candidates))
        order = sorted(range(len(scores)), key=lambda place: scores[place], reverse=True)
        return [(self.candidates[place].genome, scores[place]) for place in order[:size]]

    def _child(self, parents: Sequence[tuple[G, tuple[float, ...]]], random: Random) -> G:
        """A parent, perhaps crossed with another one, and mutated."""
        child = self._parent(parents, random)
        if random.random() < self.options.crossover:
            child = self._space.cross(child, self._parent(parents, random), random)
        return self._space.mutate(child, random)

    def _parent(self, parents: Sequence[tuple[G, tuple[float, ...]]], random: Random) -> G:
        """The winner of a tournament."""
        places = random.choice(len(parents), min(self.options.tournament, len(parents)), replace=False)
        return max((parents[int(place)] for place in places), key=lambda parent: parent[1])[0]

    def _draw(self, random: Random) -> G:
        return self._space.draw(random)

    def _new(self, count: int, random: Random, make: Callable[[Random], G]) -> list[G]:
        """So many different genomes that were not asked for yet and are cheap enough; fewer where there are none."""
        found: dict[G, None] = {}
        tries = 0
        while len(found) < count and tries < _TRIES:
            genome = make(random)
            tries += 1
            if genome not in found and genome not in self._known and self._cheap(genome):
                found[genome] = None
                tries = 0
        return list(found)

    def _cheap(self, genome: G) -> bool:
        return self.options.most_macs is None or self._cost(genome) <= self.options.most_macs

    def _row(self, genome: G) -> dict[str, float]:
        if genome not in self._rows:
            self._rows[genome] = self._properties(genome)
        return self._rows[genome]


def _points(candidates: Sequence[Candidate[Any]]) -> list[tuple[float, float]]:
    return [(one.accuracy, -float(one.cost)) for one in candidates]
