"""The study of spike-and-slab nodes and their relatives: what its runs come to."""

from collections.abc import Sequence
from dataclasses import asdict

from bayesprune.experiments.configurations import unique_runs
from bayesprune.experiments.papers.beside import beside_published, on_data, other_data
from bayesprune.experiments.papers.error_plot import sketch_of_errors
from bayesprune.experiments.papers.gate_paths import gates_sketch
from bayesprune.experiments.papers.paper import Findings, Paper
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.spike_slab import runs
from bayesprune.experiments.papers.spike_slab.collapse import trajectory_table
from bayesprune.experiments.papers.spike_slab.published import NOTES, PUBLISHED
from bayesprune.experiments.papers.spike_slab.targets import targets
from bayesprune.experiments.papers.verdicts import findings_of
from bayesprune.experiments.report.drawing import ACCENT, CONTRAST
from bayesprune.experiments.report.sections import Section
from bayesprune.experiments.words import counted
from bayesprune.inference.spike_slab.options import SpikeSlabOptions

_TITLE = "Spike-and-slab nodes and their relatives"
_FIGURES = "Figures to reach, last epoch"


def evaluate(found: Sequence[RowRuns]) -> Findings:
    """Tables, pictures and verdicts from the runs of the study; rows without runs are left out."""
    reached = targets(found)
    sections = [_part(name, rows) for name in runs.PARTS if (rows := runs.rows_of(found, name))]
    sections += [_recipe(rows[0]) for rows in [runs.rows_of(found, runs.RECIPE)] if rows]
    sections.append(Section("What was done", notes=[*_splits(found), *NOTES]))
    made = unique_runs([run for one in found for run in one.records])
    return findings_of(
        _TITLE, f"{counted(len(made), 'run')} {on_data(found)}", reached, _FIGURES, sections,
        published={name: [asdict(row) for row in rows] for name, rows in PUBLISHED.items()},
    )  # fmt: skip


def _part(name: str, rows: Sequence[RowRuns]) -> Section:
    """A network beside published rows, and its picture."""
    part = runs.PARTS[name]
    ours = [(one.row.value, one) for one in rows]
    points = [(label, CONTRAST if label not in runs.OURS else ACCENT, one) for label, one in ours]
    sketch = sketch_of_errors(
        f"error-macs-{name}", f"{part.title}: error against MACs", points, PUBLISHED[name],
        "down and to the left is better. A line joins our own combinations.",
    )  # fmt: skip
    return Section(
        part.title,
        tables=[beside_published(part.title, ours, PUBLISHED[name])],
        notes=_other_data(part.data, rows),
        wide=[] if sketch is None else [sketch],
    )


def _recipe(one: RowRuns) -> Section:
    """SS-IG with the constants of its public code."""
    run = one.records[0]
    start = float(one.row.settings.options.get("start", SpikeSlabOptions.start))
    sketch = gates_sketch(run, runs.RECIPE, "SS-IG, published recipe", start)
    return Section(
        "SS-IG with its published recipe",
        ["1,200 epochs of batches of 1,024, all rates 1e-3, slab 1. Nodes that are closed for long are removed."],
        tables=[
            beside_published("784-400-400 on MNIST", [(one.row.value, one)], PUBLISHED["mnist-mlp"]),
            trajectory_table(run),
        ],
        notes=_other_data("mnist", [one]),
        wide=[] if sketch is None else [sketch],
    )


def _other_data(usual: str, rows: Sequence[RowRuns]) -> list[str]:
    return other_data(usual, usual, [run for one in rows for run in one.records])


def _splits(found: Sequence[RowRuns]) -> list[str]:
    """How many examples there were."""
    sizes = {str(run.data["name"]): run.data["split_sizes"] for one in found for run in one.records}
    return [
        f"Examples of {name}: {size['train']:,} to train, {size['validation']:,} to validate, {size['test']:,} to "
        "test. Every error is that of the last epoch; ± is the sample standard deviation over seeds."
        for name, size in sizes.items()
    ]


PAPER = Paper(
    name="spike-slab",
    title=_TITLE,
    data=None,
    quick_data="mnist5k",
    parts=tuple(runs.PARTS),
    plan=runs.plan,
    quick_settings=runs.quick,
    evaluate=evaluate,
    part_of=runs.part_of,
    extra_parts=(runs.RECIPE,),
)
