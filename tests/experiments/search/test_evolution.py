"""The search on fitness functions whose best genomes are known."""

from collections.abc import Callable
from dataclasses import replace
from math import log
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from bayesprune.errors import BayespruneError, SettingError, UnknownNameError
from bayesprune.experiments.search.evolution import Candidate, Search
from bayesprune.experiments.search.options import STRATEGIES, SearchOptions

SIZE, LENGTH = 12, 4
Genes = tuple[int, ...]


class Strings:
    """Strings of four numbers below 12; a mutation moves one by one or two."""

    def draw(self, random: np.random.Generator) -> Genes:
        return tuple(int(one) for one in random.integers(SIZE, size=LENGTH))

    def mutate(self, genome: Genes, random: np.random.Generator) -> Genes:
        place, step = int(random.integers(LENGTH)), int(random.choice([-2, -1, 1, 2]))
        return tuple(min(SIZE - 1, max(0, one + step)) if at == place else one for at, one in enumerate(genome))

    def cross(self, one: Genes, other: Genes, random: np.random.Generator) -> Genes:
        return tuple(a if random.random() < 0.5 else b for a, b in zip(one, other, strict=True))


BEST = (9, 2, 7, 4)


def accuracy(genome: Genes) -> float:
    """1 at the best string and nowhere else."""
    return 1 - sum((a - b) ** 2 for a, b in zip(genome, BEST, strict=True)) / 300


def cost(genome: Genes) -> int:
    return 1 + sum(genome)


def properties(genome: Genes) -> dict[str, float]:
    return {f"gene {place}": float(one) for place, one in enumerate(genome)}


def searched(options: SearchOptions, fitness: Callable[[Genes], float] = accuracy) -> Search[Genes]:
    search = Search(Strings(), options, cost, properties)
    while asked := search.ask():
        search.tell([fitness(genome) for genome in asked])
    return search


def needed(strategy: str, seed: int, level: float) -> int:
    """How many candidates until one is this good; 150 where none of them is."""
    options = SearchOptions(strategy, candidates=150, population=12, batch=4, offspring=10, seed=seed)
    search = Search(Strings(), options, cost, properties)
    while (asked := search.ask()) and not any(one.accuracy >= level for one in search.candidates):
        search.tell([accuracy(genome) for genome in asked])
    return len(search.candidates)


def test_evolution_finds_the_best_string() -> None:
    for seed in range(3):
        options = SearchOptions("evolution", candidates=600, population=20, batch=1, tournament=5, seed=seed)
        assert searched(options).best.genome == BEST  # 1 of 20,736: a random draw hits it once in 35 such searches


def test_with_the_predictor_the_best_is_found_with_far_fewer() -> None:
    level = accuracy(BEST) - 0.01  # 27 of 20,736 strings: the best and those near it
    counts = {name: fmean(needed(name, seed, level) for seed in range(3)) for name in STRATEGIES}
    assert counts["predictor"] < 0.6 * counts["random"]
    assert counts["predictor"] < counts["evolution"]


@pytest.mark.parametrize("model", ["gaussian-process", "bayesian-ridge"])
@pytest.mark.parametrize("acquisition", ["expected-improvement", "upper-bound"])
def test_every_model_and_rule_beats_drawing(model: str, acquisition: str) -> None:
    options = SearchOptions(candidates=24, offspring=10, predictor=model, acquisition=acquisition)
    ours = [searched(replace(options, seed=seed)).best.accuracy for seed in range(3)]
    drawn = [searched(replace(options, strategy="random", seed=seed)).best.accuracy for seed in range(3)]
    assert fmean(ours) > fmean(drawn)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("candidates", "population", "batch"), [(23, 7, 5), (7, 7, 5), (9, 1, 1)])
def test_the_budget_is_used_up_to_the_last_one_and_nothing_is_asked_twice(
    strategy: str, candidates: int, population: int, batch: int
) -> None:
    search = Search(
        Strings(), SearchOptions(strategy, candidates=candidates, population=population, batch=batch), cost, properties
    )
    sizes = []
    while asked := search.ask():
        assert search.ask() == asked  # asking again changes nothing
        sizes.append(len(asked))
        search.tell([accuracy(genome) for genome in asked])
    genomes = [one.genome for one in search.candidates]
    assert len(genomes) == len(set(genomes)) == candidates == sum(sizes)
    assert sizes[0] == population and all(size == batch for size in sizes[1:-1])
    assert search.left == 0


def test_strategies_begin_alike_and_equal_searches_are_equal() -> None:
    options = {name: SearchOptions(name, candidates=16, batch=3, offspring=5) for name in STRATEGIES}
    found = {name: [one.genome for one in searched(given).candidates] for name, given in options.items()}
    assert found["random"][:10] == found["evolution"][:10] == found["predictor"][:10]
    assert len({tuple(genomes) for genomes in found.values()}) == 3
    for name, genomes in found.items():
        assert [one.genome for one in searched(options[name]).candidates] == genomes
        assert [one.genome for one in searched(replace(options[name], seed=1)).candidates] != genomes


def test_only_children_that_the_model_chose_have_predictions() -> None:
    for name in STRATEGIES:
        told = [one.predicted is not None for one in searched(SearchOptions(name, candidates=20)).candidates]
        assert told == [False] * 10 + [name == "predictor"] * 10


def test_with_age_as_the_only_judge_the_old_best_is_forgotten() -> None:
    """The parents of the last round are the youngest, though an old one is better."""
    search = Search(Strings(), SearchOptions("evolution", candidates=30, population=5, batch=5), cost, properties)
    rounds = []
    while asked := search.ask():
        rounds.append(asked)
        search.tell([1.0 if len(rounds) == 1 else 0.1 * place for place, _ in enumerate(asked)])
    assert search._population() == [(one.genome, (one.accuracy,)) for one in search.candidates[-5:]]
    assert search.best.genome in rounds[0]


def test_what_is_too_dear_is_never_asked_for() -> None:
    for name in STRATEGIES:
        search = searched(SearchOptions(name, candidates=20, offspring=5, most_macs=16))
        assert max(one.cost for one in search.candidates) <= 16


def test_several_objectives_spread_over_the_front() -> None:
    """Accuracy is the sum of the genes, cost too: every sum has a place on the front."""
    for name in ("evolution", "predictor"):
        options = SearchOptions(name, candidates=40, offspring=5, objectives="accuracy,macs")
        search = searched(options, lambda genome: sum(genome) / 100)
        front = search.front
        assert [one.cost for one in front] == sorted(one.cost for one in front)
        assert len({one.cost for one in front}) >= 8
        beaten = [a for a in search.candidates for b in front if b.cost <= a.cost and b.accuracy > a.accuracy]
        assert not beaten


def test_what_has_to_be_beaten() -> None:
    told: list[Candidate[Genes]] = [
        Candidate((cost,), accuracy, cost) for accuracy, cost in ((0.5, 10), (0.7, 20), (0.6, 30))
    ]
    single = Search(Strings(), SearchOptions(), cost, properties)
    both = Search(Strings(), SearchOptions(objectives="accuracy,macs"), cost, properties)
    assert [single._to_beat(one, told) for one in (5, 15, 40)] == [0.7] * 3
    assert [both._to_beat(one, told) for one in (5, 15, 40)] == [0.5, 0.5, 0.7]


class Pair(Strings):
    """A space of two."""

    def draw(self, random: np.random.Generator) -> Genes:
        return (int(random.integers(2)),)

    def mutate(self, genome: Genes, random: np.random.Generator) -> Genes:
        return (1 - genome[0],)


def test_a_space_without_new_genomes_ends_the_search_early() -> None:
    for name in STRATEGIES:
        search = Search(Pair(), SearchOptions(name, candidates=9, population=2, batch=3), cost, properties)
        while asked := search.ask():
            search.tell([0.5] * len(asked))
        assert len(search.candidates) == 2
    with pytest.raises(SettingError, match="holds 2 of the 3 candidates"):
        Search(Pair(), SearchOptions(population=3), cost, properties).ask()
    with pytest.raises(SettingError, match="at most 1 MACs"):
        Search(Strings(), SearchOptions(most_macs=1), lambda genome: 2 + sum(genome), properties).ask()


@pytest.mark.parametrize(
    ("given", "words", "error"),
    [
        ({"population": 0}, "population", SettingError),
        ({"candidates": 5}, "fewer than the population of 10", SettingError),
        ({"batch": 0}, "batch", SettingError),
        ({"tournament": 0}, "tournament", SettingError),
        ({"offspring": 0}, "offspring", SettingError),
        ({"crossover": 1.5}, "crossover", SettingError),
        ({"drawn": -0.1}, "drawn", SettingError),
        ({"most_macs": 0}, "most_macs", SettingError),
        ({"seed": -1}, "seed", SettingError),
        ({"strategy": "evolve"}, "evolution", UnknownNameError),
        ({"predictor": "forest"}, "there are", UnknownNameError),
        ({"acquisition": "ei"}, "there are", UnknownNameError),
        ({"objectives": "macs"}, "accuracy,macs", UnknownNameError),
    ],
)
def test_settings_that_cannot_be_used(given: dict[str, Any], words: str, error: type[BayespruneError]) -> None:
    with pytest.raises(error, match=words):
        SearchOptions(**given)


def test_log_scale_of_widths() -> None:
    """The oracle: drawn on a logarithmic scale, each doubling holds as many."""
    from bayesprune.experiments.search.spaces import _log_uniform

    random = np.random.default_rng(0)
    drawn = np.array([_log_uniform((1, 15), random) for _ in range(4000)])
    counts = np.histogram(drawn, [1, 2, 4, 8, 16])[0]
    expected = 4000 * log(2) / log(16)
    assert np.all(abs(counts - expected) < 5 * np.sqrt(expected))
