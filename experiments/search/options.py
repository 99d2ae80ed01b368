"""The settings of a search."""

from dataclasses import dataclass

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.run.settings import LARGEST_SEED, check_integer, check_number

STRATEGIES = ("predictor", "evolution", "random")
PREDICTORS = ("gaussian-process", "bayesian-ridge")
ACQUISITIONS = ("expected-improvement", "upper-bound")
OBJECTIVES = ("accuracy", "accuracy,macs")


@dataclass(frozen=True)
class SearchOptions:
    """How a search goes on; it is the same for equal settings and equal accuracies.

    Attributes:
        strategy: "evolution" changes and crosses the better ones of a population; "predictor" makes many such children
            and trains those from which a model, fitted to all that was trained, expects most; "random" draws.
        candidates: how many are trained in all.
        population: how many are drawn at random first, the same ones for every strategy with one seed; as many are
            parents later.
        batch: how many are trained at a time, before accuracies are looked at again.
        tournament: how many of the population compete to be a parent.
        crossover: probability that a child has two parents; every child is mutated as well.
        offspring: with the predictor, how many children are made for each that is trained.
        drawn: with the predictor, the share of these that is drawn at random.
        predictor: the model of accuracy, which says how sure it is.
        acquisition: what of the model decides: the expected improvement on the best, or mean plus one deviation.
        objectives: "accuracy", or "accuracy,macs" for the front of both.
        most_macs: candidates that cost more are not made; None for no limit.
        seed: of all draws.
    """

    strategy: str = "predictor"
    candidates: int = 40
    population: int = 10
    batch: int = 5
    tournament: int = 3
    crossover: float = 0.3
    offspring: int = 20
    drawn: float = 0.25
    predictor: str = "gaussian-process"
    acquisition: str = "expected-improvement"
    objectives: str = "accuracy"
    most_macs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("strategy", self.strategy, STRATEGIES),
            ("predictor", self.predictor, PREDICTORS),
            ("acquisition", self.acquisition, ACQUISITIONS),
            ("objectives", self.objectives, OBJECTIVES),
        ):
            if name not in known:
                raise UnknownNameError(kind, str(name), known)
        check_integer("population", self.population, 1)
        check_integer("candidates", self.candidates, 1)
        for name in ("batch", "tournament", "offspring"):
            check_integer(name, getattr(self, name), 1)
        check_number("crossover", self.crossover, 0.0, 1.0, low_allowed=True)
        check_number("drawn", self.drawn, 0.0, 1.0, low_allowed=True)
        check_integer("most_macs", 1 if self.most_macs is None else self.most_macs, 1)
        check_integer("seed", self.seed, 0, LARGEST_SEED)
        if self.candidates < self.population:
            raise SettingError(
                f"{self.candidates} candidates are fewer than the population of {self.population}, which is trained "
                "first: give more candidates, or a smaller population"
            )

    @property
    def with_cost(self) -> bool:
        """Whether cost is an objective."""
        return self.objectives == OBJECTIVES[1]
