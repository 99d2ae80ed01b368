"""Part `search`: architecture search with performance prediction against search without it, at equal budget."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bayesprune.data.cached import load_cached
from bayesprune.data.catalogue import files_of
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.papers.hidden_structures.search_plots import best_sketch, cost_sketch
from bayesprune.experiments.papers.hidden_structures.search_tables import (
    PUBLISHED,
    prediction_table,
    strategies_table,
    target_of,
)
from bayesprune.experiments.papers.paper import Findings
from bayesprune.experiments.papers.verdicts import summary, targets_table
from bayesprune.experiments.report.sections import Document, Section
from bayesprune.experiments.search.calling import BASE
from bayesprune.experiments.search.options import STRATEGIES, SearchOptions
from bayesprune.experiments.search.progress import told
from bayesprune.experiments.search.running import Trained, job_of, search_of, train
from bayesprune.experiments.search.spaces import CellSpace, GraphSpace
from bayesprune.experiments.search.view import candidate_values
from bayesprune.run.settings import RunSettings, check_integer
from bayesprune.store.atomic import check_writable
from bayesprune.store.runs import RunRecord

SEEDS = 5
_TITLE = "Architecture search with performance prediction"
_NOTES = (
    "Every strategy trains as many networks for as many epochs, and all begin with the same networks drawn at random. "
    "What is chosen is chosen by validation accuracy after the last epoch; test accuracy is that of each winner.",
    "evolution: regularised evolution, the youngest are parents and the best of three drawn is changed. predictor: "
    "of twenty such children (a quarter drawn at random) for each that is trained, the one is trained from which a "
    "Gaussian process, fitted to all networks trained so far, expects the greatest improvement. random: drawn.",
    "All networks are trained with one seed, so that a network that two searches ask for is trained once.",
    f"Published: {PUBLISHED} % on CIFAR-10 (abstract of arXiv 2107.12917); search space, budget and baseline of that "
    "search are not known, so it stands beside ours and is no target.",
)


@dataclass(frozen=True)
class Comparison:
    """One space on one data set.

    Attributes:
        data: by name.
        space: where is searched.
        options: of all searches; strategy and seed vary.
        base: settings of the candidates' runs.
        final: settings of a last run of every winner; None where the candidate's run is the last.
    """

    data: str
    space: Any
    options: SearchOptions
    base: RunSettings
    final: RunSettings | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{'graphs' if isinstance(self.space, GraphSpace) else 'cells'}, {self.data}"


@dataclass(frozen=True, eq=False)
class Found:
    """What the searches of a comparison came to.

    Attributes:
        comparison: what was searched.
        searches: by strategy, one a seed.
        tested: by strategy, the runs of the winners.
    """

    comparison: Comparison
    searches: Mapping[str, Sequence[Trained]]
    tested: Mapping[str, Sequence[RunRecord]]


def on_graphs(data: str) -> Comparison:
    """Random graphs with at most 50,000 multiply-accumulates: seconds a network on a processor."""
    options = SearchOptions(candidates=12, population=6, batch=3, most_macs=50_000)
    space = GraphSpace(vertices=(6, 16), widths=(2, 16))
    return Comparison(data, space, options, replace(BASE, data=data, epochs=5))


def on_cells(data: str) -> Comparison:
    """Cells with at most 300,000 multiply-accumulates."""
    options = SearchOptions(candidates=12, population=6, batch=3, most_macs=300_000)
    return Comparison(data, CellSpace(widths=(2, 8)), options, replace(BASE, data=data, epochs=3))


def on_colours(data: str) -> Comparison:
    """Cells for CIFAR-10, made for a GPU: the winner is trained on for long with all data."""
    options = SearchOptions(candidates=100, population=25, batch=10, most_macs=100_000_000)
    base = replace(BASE, data=data, epochs=12, augment="crop-flip")
    final = replace(base, data=data.partition("@")[0], epochs=100)
    return Comparison(data, CellSpace(widths=(16, 48), cells=2, stride=1), options, base, final)


def comparisons(quick: bool = False, data: str | None = None) -> list[Comparison]:
    """What is searched: on data that are there, or on the one that is named.

    Args:
        quick: few and short runs on mnist5k.
        data: by name; pictures in colour get cells.
    """
    if quick:
        short = on_graphs(data or "mnist5k")
        options = replace(short.options, candidates=6, population=3, batch=2)
        return [replace(short, options=options, base=replace(short.base, epochs=2))]
    if data is not None:
        return [on_colours(data) if data.startswith(("cifar10", "svhn")) else on_graphs(data)]
    there = [name for name in ("fashion-mnist@2000/3000", "mnist@2000/3000") if files_of(name)]
    return [on_graphs(name) for name in (*there, "mnist5k")] + [on_cells("mnist5k")]


def evaluate(
    place: Path,
    *,
    quick: bool = False,
    data: str | None = None,
    repeats: int | None = None,
    workers: int = 1,
    fresh: bool = False,
) -> Findings:
    """Make the searches, and say what they came to; finished runs are not made again.

    Args:
        place: folder of the run folders.
        quick: few and short runs, two seeds.
        data: another data set.
        repeats: seeds.
        workers: processes.
        fresh: start interrupted runs anew.

    Raises:
        BayespruneError: data or numbers that cannot be used, or a run failed.
    """
    seeds = (2 if quick else SEEDS) if repeats is None else repeats
    check_integer("repeats", seeds, 1)
    plans = comparisons(quick, data)
    check_writable(place)
    found = []
    later = sum(seeds * len(STRATEGIES) * one.options.candidates for one in plans)
    with told(place) as watcher:
        for plan in plans:
            loaded = load_cached(plan.data, None)
            searches: dict[str, list[Trained]] = {name: [] for name in STRATEGIES}
            for seed in range(seeds):
                together = {
                    name: search_of(plan.space, replace(plan.options, strategy=name, seed=seed), loaded)
                    for name in STRATEGIES
                }
                later -= len(STRATEGIES) * plan.options.candidates
                train(
                    list(together.values()), plan.base, place, workers=workers, resume=not fresh, watcher=watcher,
                    later=later,
                )  # fmt: skip
                for name, one in together.items():
                    searches[name].append(one)
            found.append(Found(plan, searches, _tested(plan, searches, place, fresh)))
    return findings(found)


def _tested(
    plan: Comparison, searches: Mapping[str, Sequence[Trained]], place: Path, fresh: bool
) -> dict[str, list[RunRecord]]:
    """The runs of the winners whose test accuracies are reported."""
    if plan.final is None:
        return {name: [RunRecord.read(one.winner) for one in own] for name, own in searches.items()}
    found = {}
    for name, own in searches.items():
        jobs = [job_of(one.search.best.genome, plan.final) for one in own]
        found[name] = [RunRecord.read(run_jobs([job], place, resume=not fresh)[0]) for job in jobs]
    return found


def findings(found: Sequence[Found]) -> Findings:
    """Tables, pictures and the verdict."""
    targets = [target_of(one.comparison.name, one.searches) for one in found]
    sections = [Section("What was asked", tables=[targets_table(targets, "Figures to reach, validation accuracy")])]
    for one in found:
        tables = [strategies_table(one.searches, one.tested), prediction_table(one.searches["predictor"])]
        sketches = [best_sketch(one.comparison.name, one.searches), cost_sketch(one.comparison.name, one.searches)]
        sections.append(Section(one.comparison.name.capitalize(), tables=tables, pictures=sketches))
    sections.append(Section("How", notes=_NOTES))
    runs = {folder for one in found for own in one.searches.values() for each in own for folder in each.folders}
    subtitle = f"{len(runs):,} different networks trained."
    document = Document(_TITLE, subtitle, summary(targets), tuple(sections))
    values = {"targets": [asdict(one) for one in targets], "comparisons": [_values(one) for one in found]}
    return Findings(document, values, [*(one.line() for one in targets), summary(targets)])


def _values(found: Found) -> dict[str, Any]:
    """A comparison as plain JSON."""
    return {
        "data": found.comparison.data,
        "space": asdict(found.comparison.space),
        "options": asdict(found.comparison.options),
        "epochs": found.comparison.base.epochs,
        "published_cifar10": PUBLISHED,
        "searches": [
            {
                "strategy": name,
                "seed": one.search.options.seed,
                "best": candidate_values(one.search.best),
                "test_accuracy": float(record.result["accuracy"]),
                "candidates": [
                    candidate_values(candidate) | {"run": folder.name}
                    for candidate, folder in zip(one.search.candidates, one.folders, strict=True)
                ],
            }
            for name, own in found.searches.items()
            for one, record in zip(own, found.tested[name], strict=True)
        ],
    }
