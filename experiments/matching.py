"""Which runs took their sizes from the results of others, seed by seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bayesprune.experiments.run_settings import method_of, place_of
from bayesprune.run.budget import Budget, parse_budgets
from bayesprune.run.shares import is_table
from bayesprune.store.runs import RunRecord


@dataclass(frozen=True)
class Kin:
    """Runs that belong together.

    Attributes:
        runs: of one configuration.
        source: the runs of another that gave them their sizes; empty where their settings did.
    """

    runs: tuple[RunRecord, ...]
    source: tuple[RunRecord, ...] = ()


def kin(family: Sequence[RunRecord], alike: Sequence[Sequence[RunRecord]]) -> list[Kin]:
    """Part runs that differ in their sizes only: by equal sizes, or by the runs that gave them.

    A run does not say where its size comes from. So the largest set of runs is taken that one cause explains, either
    one size in their settings or the results of one configuration on the same seeds; then the largest of the rest.

    Args:
        family: runs whose settings are the same but for seed and size.
        alike: the same runs and all others, parted by their settings (sizes too) without the seed.
    """
    causes = list(_causes(family, alike))
    found, left = [], {id(run) for run in family}
    while left:
        best = max(causes, key=lambda cause: (len(_ids(cause) & left), bool(cause.source)))
        found.append(best)
        left -= _ids(best)
    return found


def _causes(family: Sequence[RunRecord], alike: Sequence[Sequence[RunRecord]]) -> Iterator[Kin]:
    """All that may explain the sizes of some runs of a family."""
    ids = {id(run) for run in family}
    for group in alike:
        if id(group[0]) in ids:
            yield Kin(tuple(group))
        elif method_of(group[0]) != method_of(family[0]) and place_of(group[0]) == place_of(family[0]):
            fitting = tuple(run for run in family if any(_sized_by(run, source) for source in group))
            if fitting:
                yield Kin(fitting, tuple(group))


def _ids(cause: Kin) -> set[int]:
    return {id(run) for run in cause.runs}


def _sized_by(run: RunRecord, source: RunRecord) -> bool:
    """Whether the size in a run's settings is that of another's result with the same seed."""
    if run.result["seed"] != source.result["seed"]:
        return False
    budget, density = run.settings.get("budget"), run.settings.get("density")
    if density is not None:
        return bool(density == source.result["density"])
    return (
        budget is not None
        and not is_table(budget)
        and parse_budgets(budget) == (Budget("macs", float(source.result["macs"]), relative=False),)
    )
