"""The study of input selection on teachers: false positives and negatives by method, and the figures to reach."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bayesprune.experiments.number_format import MISSING, NumberFormat
from bayesprune.experiments.papers.paper import Findings, Paper
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.teachers import runs
from bayesprune.experiments.papers.teachers.plots import errors_sketch
from bayesprune.experiments.papers.teachers.selected import (
    FOREST,
    GIBBS,
    LASSO,
    Selection,
    baseline,
    gibbs_of,
    of_run,
    place_of,
)
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, findings_of, verdict
from bayesprune.experiments.report.sections import Section
from bayesprune.experiments.report.tables import Table
from bayesprune.experiments.words import counted, listed
from bayesprune.store.runs import RunRecord

_TITLE = "Which inputs are selected where the true ones are known"
_FIGURES = "Figures to reach, ten draws of the data"
_LARGE = {"teacher200": 200, "teacher2000": 2_000}
_NOTES = (
    "A false positive is a selected input that the targets do not depend on, a false negative one of the five true "
    "inputs that is not selected. Rates are shares of the inputs that are not true, and of the five.",
    f"Of {runs.RESTARTS} restarts a draw the one with the least validation NLL counts. Settings come from runs "
    "on draws 100 to 104. No test split is used for any choice.",
    "Gibbs: inputs that are open in more than half of 200 draws of the gates that parsimonious left, at its last "
    "weights. It can close inputs and bring none back.",
    "Lasso: the penalty of the least error in 5-fold cross-validation; inputs with a coefficient other than 0. Forest: "
    "100 trees; inputs of more importance than every input of a shuffled copy (one round of Boruta).",
)

Found = dict[str, dict[str, dict[int, Selection]]]
"""By part, method and draw."""


def evaluate(found: Sequence[RowRuns]) -> Findings:
    """Table, picture and verdicts from the runs; what is no run is computed at first use, and kept beside them."""
    selections = selections_of(found)
    reached = [target for part in selections for target in targets(part, selections[part])]
    sections = [
        Section(part, tables=[errors_table(part, methods)], wide=[errors_sketch(part, methods)])
        for part, methods in selections.items()
    ]
    sections.append(Section("What was done", notes=_NOTES))
    made = sum(len(one.records) for one in found)
    selected = {
        part: {
            name: [{"draw": draw, **_document(one)} for draw, one in sorted(draws.items())]
            for name, draws in methods.items()
        }
        for part, methods in selections.items()
    }
    subtitle = f"{counted(made, 'run')} on {listed([*selections])}."
    return findings_of(_TITLE, subtitle, reached, _FIGURES, sections, selected=selected)


def selections_of(found: Sequence[RowRuns]) -> Found:
    """What every method selected on every draw that has runs."""
    selections: Found = {}
    for one in found:
        if one.records:
            run, part, method = best_of(one.records), one.row.factor, runs.method_of(one.row)
            methods, draw = selections.setdefault(part, {}), draw_of(str(run.settings["data"]))
            methods.setdefault(method, {})[draw] = replace(of_run(run), runs=len(one.records))
            if method == runs.METHODS[0]:
                methods.setdefault(f"{method}, {GIBBS}", {})[draw] = gibbs_of(run)
    for methods in selections.values():
        for name in (LASSO, FOREST):
            methods[name] = {}
    for one in found:
        for run in one.records:
            data = str(run.settings["data"])
            for name in (LASSO, FOREST):
                draws = selections[one.row.factor][name]
                if draw_of(data) not in draws:
                    draws[draw_of(data)] = baseline(name, data, place_of(run))
    return selections


def best_of(restarts: Sequence[RunRecord]) -> RunRecord:
    """The restart with the least negative log-likelihood of the validation split after its last epoch."""
    return min(restarts, key=lambda run: float(run.history[-1]["validation_nll"]))


def draw_of(data: str) -> int:
    """The number of the draw in a name of data."""
    return int(data.partition("@")[2] or 0)


def errors_table(part: str, methods: Mapping[str, Mapping[int, Selection]]) -> Table:
    """A row a method."""
    form, share = NumberFormat(1), NumberFormat(2)
    false = _LARGE[part] - 5
    rows = []
    for name, draws in methods.items():
        positives = [one.false_positives for one in draws.values()]
        missed = [len(one.missed) for one in draws.values()]
        made = sum(one.runs for one in draws.values())
        count = max(1, len(draws))
        errors = [one.rmse for one in draws.values() if one.rmse is not None]
        rows.append((
            name, str(len(draws)), str(made) if made else MISSING,
            f"{form.show(sum(positives) / count)} ({min(positives)} to {max(positives)})",
            f"{form.show(sum(missed) / count)} ({min(missed)} to {max(missed)})",
            f"{share.show(100 * sum(positives) / count / false)} %", f"{share.show(100 * sum(missed) / count / 5)} %",
            _missed_by_input(draws.values()),
            share.show(sum(errors) / len(errors)) if errors else MISSING,
        ))  # fmt: skip
    headings = (
        "method", "draws", "runs", "false positives", "false negatives", "rate of positives", "rate of negatives",
        "missed", "test RMSE",
    )  # fmt: skip
    return Table(f"{part}: mean over draws (least to most); the noise alone has an RMSE of 1", headings, tuple(rows))


def _missed_by_input(found: Any) -> str:
    """Which inputs were missed, and how often."""
    counts: dict[int, int] = {}
    for one in found:
        for place in one.missed:
            counts[place] = counts.get(place, 0) + 1
    return ", ".join(f"x{place + 1}: {count}" for place, count in sorted(counts.items())) or "none"


def targets(part: str, methods: Mapping[str, Mapping[int, Selection]]) -> list[Target]:
    """The figures to reach on a part."""
    family = {name: draws for name, draws in methods.items() if name not in (LASSO, FOREST) and draws}
    if not family:
        return []
    best = min(family, key=lambda name: _errors(family[name]))
    draws = family[best]
    worst = max(one.false_positives for one in draws.values())
    missed = sum(len(one.missed) for one in draws.values())
    said = f"{best}: {missed} false negatives in all, at most {worst} false positives a draw"
    lacking = "" if len(draws) >= runs.DRAWS else f"{len(draws)} of {runs.DRAWS} draws; "
    wanted = "no false negative, at most one false positive a draw"
    first = Target(
        f"{part}, the best of the family",
        wanted,
        lacking + said,
        UNKNOWN if lacking else verdict(missed == 0 and worst <= 1),
    )
    lasso = methods[LASSO]
    behind = [draw for draw, one in draws.items() if draw in lasso and not _no_worse(one, lasso[draw])]
    words = f"{best}: worse on {len(behind)} of {len(draws)} draws"
    second = Target(
        f"{part}, against Lasso", "on no draw more false positives or negatives", lacking + words,
        UNKNOWN if lacking else verdict(not behind),
    )  # fmt: skip
    return [first, second]


def _errors(draws: Mapping[int, Selection]) -> float:
    """Mean errors of both kinds a draw."""
    return sum(one.false_positives + len(one.missed) for one in draws.values()) / len(draws)


def _no_worse(one: Selection, other: Selection) -> bool:
    return one.false_positives <= other.false_positives and len(one.missed) <= len(other.missed)


def _document(one: Selection) -> dict[str, Any]:
    """As plain JSON; inputs are counted from 1, as their names are."""
    return {
        "inputs": [place + 1 for place in one.inputs],
        "false_positives": one.false_positives,
        "missed": [place + 1 for place in one.missed],
        "rmse": one.rmse,
    }


PAPER = Paper(
    name="teachers",
    title=_TITLE,
    data=None,
    quick_data=None,
    parts=runs.PARTS[:1],
    extra_parts=runs.PARTS[1:],
    plan=runs.plan,
    quick_settings=runs.quick,
    evaluate=evaluate,
    part_of=runs.part_of,
    repeats=runs.DRAWS,
)
