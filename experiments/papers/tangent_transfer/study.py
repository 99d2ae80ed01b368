"""The study of neural tangent transfer (arXiv 2006.08228): what its runs come to."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bayesprune.experiments.configurations import unique_runs
from bayesprune.experiments.papers.paper import Findings, Paper
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.tangent_transfer import runs
from bayesprune.experiments.papers.tangent_transfer.curves import kernel_ratio, kernel_start, steps_to, training_steps
from bayesprune.experiments.papers.tangent_transfer.notes import NOTES, protocol_notes
from bayesprune.experiments.papers.tangent_transfer.plots import kernel_sketch, learning_sketch
from bayesprune.experiments.papers.tangent_transfer.published import LEVELS, PRINTED
from bayesprune.experiments.papers.tangent_transfer.tables import LOWER, data_table, method_table
from bayesprune.experiments.papers.tangent_transfer.targets import targets
from bayesprune.experiments.papers.verdicts import findings_of
from bayesprune.experiments.report.pictures import Sketch
from bayesprune.experiments.report.sections import Section
from bayesprune.experiments.words import counted, listed

_TITLE = "Neural tangent transfer"
_METHODS = (runs.NTT, runs.RANDOM, runs.UNIFORM, "magnitude", "logit-snip", "snip", runs.DENSE)
_FIGURES = "Figures to reach, MNIST, 3 % density, last epoch"
_PRINTED = "“printed” are both runs of the notebook that comes with the authors' code."


def evaluate(found: Sequence[RowRuns]) -> Findings:
    """Tables, pictures and verdicts from the runs of the study; rows without runs are left out."""
    reached = targets(found)
    shown = [_perceptron(found), _short(found), _full(found), *_between(found)]
    sections = [section for section in shown if section is not None]
    sections.append(Section("What was done", notes=[*protocol_notes(found), *NOTES]))
    made = unique_runs([run for one in found for run in one.records])
    data = dict.fromkeys(str(run.data["name"]) for run in made)
    subtitle = f"{counted(len(made), 'run')} on {listed([*data])}."
    return findings_of(
        _TITLE, subtitle, reached, _FIGURES, sections,
        printed={network: [asdict(one) for one in rows] for network, rows in PRINTED.items()},
        learning=[_values(one) for one in found],
    )  # fmt: skip


def _perceptron(found: Sequence[RowRuns]) -> Section | None:
    """LeNet-300-100: all methods, and what became of the transfer's variants."""
    rows = _rows(found, runs.PERCEPTRON)
    table = method_table("LeNet-300-100 at 3 % density", "lenet300", rows)
    if table is None:
        return None
    methods = [one for one in rows if one.row.value in _METHODS]
    variants = [one for one in rows if one.row.value.startswith(runs.NTT)]
    transfers = [one for one in variants if "control" not in one.row.settings.options]
    notes = (
        _PRINTED,
        "“shuffle” moves the entries of every layer's mask about after the transfer, “shuffle-inputs” within every "
        "unit; the weights are those that the transfer left at their new places, masked ones among them. “fresh” draws "
        "all weights anew: what is left is the mask.",
        "“dense” begins with the layers' own initial weights, not with Glorot's: that method has no such setting.",
    )
    wide = [
        learning_sketch("methods", "LeNet-300-100: methods that choose before training", methods),
        learning_sketch("variants", "LeNet-300-100: variants and controls of the transfer", variants),
        kernel_sketch("lenet300", "LeNet-300-100: the student's kernel over the transfer", transfers),
    ]
    return Section("LeNet-300-100", tables=[table], notes=notes, wide=_drawn(wide))


def _short(found: Sequence[RowRuns]) -> Section | None:
    """LeNet-5 after the transfer that a processor can make."""
    rows = _rows(found, runs.SHORT)
    note = "This is short: the notebook's transfer took 18,720 steps of 64 images, and its training 50 epochs."
    return _convolutional("LeNet-5, short transfer", runs.SHORT, rows, [note])


def _full(found: Sequence[RowRuns]) -> Section | None:
    """LeNet-5 as the notebook has it."""
    return _convolutional("LeNet-5", runs.FULL, _rows(found, runs.FULL), [])


def _convolutional(title: str, name: str, rows: Sequence[RowRuns], notes: Sequence[str]) -> Section | None:
    """Either of them."""
    table = method_table(f"{title}, at 3 % density", "lenet5", rows)
    if table is None:
        return None
    wide = [
        learning_sketch(name, f"{title}: how fast it learns", rows),
        kernel_sketch(name, f"{title}: the student's kernel over the transfer", rows),
    ]
    return Section(title, tables=[table], notes=[_PRINTED, *notes], wide=_drawn(wide))


def _between(found: Sequence[RowRuns]) -> list[Section]:
    """Training on one data set after transfer on another."""
    sections = []
    for name in (runs.DATA, runs.OTHER):
        rows = _rows(found, f"{runs.TRANSFER}: {name}")
        if rows:
            data = str(rows[0].records[0].data["name"])
            wide = learning_sketch(f"transfer-{name}", f"LeNet-300-100, trained on {data}", rows)
            sections.append(Section(f"Transfer to {data}", tables=[data_table(data, rows)], wide=_drawn([wide])))
    return sections


def _rows(found: Sequence[RowRuns], factor: str) -> list[RowRuns]:
    """The rows of a factor that have runs."""
    return [one for one in found if one.row.factor == factor and one.records]


def _drawn(sketches: Sequence[Sketch | None]) -> list[Sketch]:
    """Those that there are."""
    return [sketch for sketch in sketches if sketch is not None]


def _values(one: RowRuns) -> dict[str, Any]:
    """How fast the runs of a row learnt, as plain JSON."""
    levels = sorted({*LEVELS, *LOWER})
    learnt = [
        {
            "seed": run.result["seed"], "training_steps": training_steps(run),
            "steps_to": {str(level): steps_to(run, level) for level in levels},
            "kernel_start": _or_none(kernel_start(run)), "kernel_ratio": _or_none(kernel_ratio(run)),
        }
        for run in one.records
    ]  # fmt: skip
    return {"factor": one.row.factor, "value": one.row.value, "runs": learnt}


def _or_none(value: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return value if value == value else None


PAPER = Paper(
    name="tangent-transfer",
    title=_TITLE,
    data=None,
    quick_data=runs.QUICK_DATA,
    parts=(runs.PERCEPTRON, runs.SHORT, runs.TRANSFER),
    plan=runs.plan,
    quick_settings=runs.quick,
    evaluate=evaluate,
    part_of=runs.part_of,
    extra_parts=(runs.FULL,),
    with_steps=runs.with_steps,
)
