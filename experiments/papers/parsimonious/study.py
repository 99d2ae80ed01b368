"""The study of parsimonious networks: what its runs come to."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bayesprune.experiments.configurations import unique_runs
from bayesprune.experiments.papers.beside import on_data, other_data
from bayesprune.experiments.papers.measured import only
from bayesprune.experiments.papers.paper import Findings, Paper
from bayesprune.experiments.papers.parsimonious import published, runs
from bayesprune.experiments.papers.parsimonious.tables import TITLES, factor_tables, published_table, time_table
from bayesprune.experiments.papers.parsimonious.targets import targets
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.verdicts import findings_of
from bayesprune.experiments.report.pictures import Sketch
from bayesprune.experiments.report.sections import Section
from bayesprune.experiments.words import counted, listed
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord

_TITLE = "Parsimonious networks"
_FIGURES = "Figures to reach, full MNIST, last epoch, five seeds"
_BASES = ("base", "small", "flatten")
_TIME_NOTE = (
    "Seconds are wall time of whole runs of this study, several of which ran side by side; figures paired in one "
    "process on one thread are those of the benchmark."
)


def evaluate(found: Sequence[RowRuns]) -> Findings:
    """Tables, pictures and verdicts from the runs of the study; rows without runs are left out."""
    reached = targets(found)
    networks = [name for name in TITLES if any(one.row.network == name and one.records for one in found)]
    sections = [_network_section(name, found) for name in networks]
    sections += [_factors_section(name, found) for name in networks]
    return findings_of(
        _TITLE, _subtitle(found), reached, _FIGURES, [*sections, _method_section(found)],
        published={name: [asdict(row) for row in published.PUBLISHED[name]] for name in networks},
    )  # fmt: skip


def _network_section(network: str, found: Sequence[RowRuns]) -> Section:
    """A network beside published rows, and its pictures."""
    from bayesprune.experiments.papers.parsimonious.plots import cost_sketches, error_sketch, widths_sketch

    times = time_table(network, found)
    base = only(found, network, "base")
    runs_of_network = [run for one in found if one.row.network == network for run in one.records]
    wide = [error_sketch(network, found), *(_gates_sketch(network, run) for run in base[:1])]
    return Section(
        f"{TITLES[network]} beside published networks",
        tables=[published_table(network, found), *([times] if times else [])],
        notes=[*other_data("mnist", "MNIST", runs_of_network), *published.NOTES, _TIME_NOTE],
        wide=[sketch for sketch in wide if sketch is not None],
        pictures=[
            *cost_sketches(network, found),
            *filter(None, [widths_sketch(network, found)]),
        ],
    )


def _gates_sketch(network: str, run: RunRecord) -> Sketch | None:
    from bayesprune.experiments.papers.gate_paths import gates_sketch

    return gates_sketch(run, network, TITLES[network], runs.start_of(RunSettings.from_json(run.settings)))


def _factors_section(network: str, found: Sequence[RowRuns]) -> Section:
    """One factor at a time."""
    what = f"Each table varies one factor around the base: {_chosen(network, 'base', found)}."
    return Section(f"{TITLES[network]}, one factor at a time", [what], factor_tables(network, found))


def _method_section(found: Sequence[RowRuns]) -> Section:
    """How the figures came about."""
    chosen = [
        f"{TITLES[one.row.network]}, {one.row.factor}: {_chosen(one.row.network, one.row.factor, found)}"
        for one in found
        if one.row.factor in _BASES
    ]
    sizes = {str(run.data["name"]): run.data["split_sizes"] for one in found for run in one.records}
    splits = [
        f"{name}: {size['train']:,} to train, {size['validation']:,} to validate, {size['test']:,} to test"
        for name, size in sizes.items()
    ]
    return Section(
        "What was done",
        notes=[
            "Every error is that of the last epoch; no run uses the test split before it has ended.",
            f"Chosen on the validation split, in preliminary runs of seeds 0 and 1: {'; '.join(chosen)}. All else is "
            "the method's default.",
            "± is the sample standard deviation over seeds: how far single runs lie apart, not how well the mean is "
            "known. One run has none.",
            "A gate is undecided when its inclusion probability lies between 0 and 1; the share is of all initial "
            "gates.",
            "MACs are multiply-accumulates of one sample, parameters those of the stored network, biases included. "
            "Training MACs count the gradients of the gates.",
            f"Examples: {'; '.join(splits)}.",
        ],
    )


def _chosen(network: str, factor: str, found: Sequence[RowRuns]) -> str:
    """The settings of a base in words."""
    row = next((one.row for one in found if (one.row.network, one.row.factor) == (network, factor)), None)
    if row is None:
        return "not part of this study"
    settings = row.settings.to_json()
    usual = RunSettings(row.settings.method, row.network, row.settings.data).to_json()
    options = {name: value for name, value in settings.pop("options").items() if name != "price_kind"}
    price = settings.pop("price")
    given = {name: value for name, value in settings.items() if name in usual and value != usual[name]}
    return ", ".join([
        f"{runs.kind_of(row.settings)} price {'default' if price is None else f'{price:g}'}",
        *(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in (given | options).items()),
    ])  # fmt: skip


def _plain(value: Any) -> str:
    """A setting's value in words."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"{value}"


def _subtitle(found: Sequence[RowRuns]) -> str:
    """How many runs of what, how long."""
    made = unique_runs([run for one in found for run in one.records])
    networks = dict.fromkeys(TITLES[one.row.network] for one in found if one.records)
    return f"{counted(len(made), 'run')} of {listed([*networks])} {on_data(found)}"


PAPER = Paper(
    name="parsimonious",
    title=_TITLE,
    data="mnist",
    quick_data="mnist5k",
    parts=tuple(TITLES),
    plan=runs.plan,
    quick_settings=runs.quick,
    evaluate=evaluate,
)
