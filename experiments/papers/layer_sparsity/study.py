"""The study of layer sparsity: teachers whose depth is known, and deep perceptrons on pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

from bayesprune.experiments.number_format import MISSING, NumberFormat
from bayesprune.experiments.papers.layer_sparsity import runs
from bayesprune.experiments.papers.layer_sparsity.measured import Outcome, outcome_of
from bayesprune.experiments.papers.layer_sparsity.plots import arms_sketch, errors_sketch, path_sketch
from bayesprune.experiments.papers.paper import Findings, Paper
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, summary, targets_table, verdict
from bayesprune.experiments.report.sections import Document, Section
from bayesprune.experiments.report.tables import Table
from bayesprune.experiments.statistics import mean_and_spread
from bayesprune.experiments.words import counted, listed

_TITLE = "Layer sparsity: which layers of a deep network are needed"
_NOTES = (
    "The protocol is ours. Of the paper (Hebiri and Lederer, arXiv 2006.15604) the tables and the settings could not "
    "be read, so no figure stands beside a published one.",
    "Active layers are the hidden layers whose activation acts: those with a negative weight or bias, and the first "
    "one. The others are multiplied into the layers behind them when the fit is over. On pictures that is exact (tol = "
    "0); of students a layer goes too whose values before the activation are negative for at most "
    f"{100 * runs.EPS:g} % of the units on 1,000 examples, and the table shows the error before and after.",
    f"Arms: none (weight decay only), l1 only (lam = {runs.LAM:g}, students {runs.STUDENT_LAM:g}), layer only, and "
    "both. All are trained by the same proximal steps, with weight decay on all matrices, and refitted "
    "without penalties on signs.",
    "Last epoch; no test split is used for any choice.",
)
RECOVERED = 8
"""Of ten draws."""

LEARNT = 0.5
"""Deviations: a fit with a larger validation RMSE counts as one that learnt nothing."""

Found = Mapping[str, Sequence[tuple[RowRuns, Outcome]]]


def evaluate(found: Sequence[RowRuns]) -> Findings:
    """Tables, pictures and verdicts from the runs."""
    parts = {part: _outcomes(found, part) for part in (*runs.PARTS, *runs.EXTRA_PARTS)}
    present = {part: rows for part, rows in parts.items() if rows}
    reached = [target for part, rows in present.items() for target in _targets(part, rows)]
    sections = [Section("Figures to reach", tables=[targets_table(reached, "Figures to reach")])]
    sections += [_section(part, rows) for part, rows in present.items()]
    sections.append(Section("What was done", notes=_NOTES))
    made = sum(len(one.records) for one in found)
    document = Document(
        _TITLE, f"{counted(made, 'run')}: {listed([*present])}. Our protocol.", summary(reached), tuple(sections)
    )
    values = {
        "targets": [asdict(one) for one in reached],
        "outcomes": {
            part: [{"row": one.row.value, **asdict(outcome)} for one, outcome in rows] for part, rows in present.items()
        },
    }
    return Findings(document, values, [*(one.line() for one in reached), summary(reached)])


def _outcomes(found: Sequence[RowRuns], part: str) -> list[tuple[RowRuns, Outcome]]:
    """Every finished run of a part with its row."""
    return [(one, outcome_of(run)) for one in found if runs.part_of(one.row) == part for run in one.records]


def _section(part: str, rows: Sequence[tuple[RowRuns, Outcome]]) -> Section:
    """The table and the pictures of a part."""
    what = "RMSE in deviations" if runs.of_students(part) else "error"
    if part == runs.REFIT:
        return Section(part, tables=[outcomes_table(part, grouped(part, rows))])
    arms, strengths = arms_of(part, rows), strengths_of(part, rows)
    sketches = [path_sketch(part, strengths), errors_sketch(part, strengths, what)] if strengths else []
    tables = [outcomes_table(part, grouped(part, rows))]
    if runs.of_students(part):
        tables.insert(0, recovered_table(rows))
    return Section(part, tables=tables, pictures=sketches, wide=[arms_sketch(part, arms, what)] if arms else [])


def grouped(part: str, rows: Sequence[tuple[RowRuns, Outcome]]) -> dict[str, list[Outcome]]:
    """Outcomes by what the table calls a row: all draws of a student together."""
    made: dict[str, list[Outcome]] = {}
    for one, outcome in rows:
        name = one.row.value
        if runs.of_students(part):
            teacher, _, shown = name.split(", ", 2)
            name = f"{teacher}, {shown}"
        made.setdefault(name, []).append(outcome)
    return made


def arms_of(part: str, rows: Sequence[tuple[RowRuns, Outcome]]) -> dict[str, list[Outcome]]:
    """The arms at the usual strength: of students on the draws that all arms have."""
    usual = runs.STUDENT_STRENGTH if runs.of_students(part) else runs.STRENGTH
    made: dict[str, list[Outcome]] = {}
    for arm in (*runs.ARMS, runs.SHALLOW):
        own = [
            outcome
            for one, outcome in rows
            if runs.arm_of(one.row) == arm
            and runs.strength_of(one.row) in (0.0, usual)
            and (not runs.of_students(part) or _has_all_arms(one))
        ]
        if own:
            made[arm] = own
    return made


def _has_all_arms(one: RowRuns) -> bool:
    """Whether a row of students is of a draw that all arms have."""
    layers, draw = runs.teacher_of(one.row)
    return layers == 2 and draw < runs.REPEATS


def strengths_of(part: str, rows: Sequence[tuple[RowRuns, Outcome]]) -> dict[float, list[Outcome]]:
    """Runs with both penalties by strength; of students those of the deeper teacher."""
    made: dict[float, list[Outcome]] = {}
    for one, outcome in rows:
        if runs.arm_of(one.row) == runs.BOTH and (not runs.of_students(part) or runs.teacher_of(one.row)[0] == 2):
            made.setdefault(runs.strength_of(one.row), []).append(outcome)
    return dict(sorted(made.items()))


def recovered_table(rows: Sequence[tuple[RowRuns, Outcome]]) -> Table:
    """How often the number of active layers is that of the teacher, by teacher and strength."""
    cells = []
    for (layers, strength), draws in recovered(rows).items():
        cells.append((
            str(layers), f"{strength:g}", str(len(draws)), str(sum(one.active == layers for one in draws)),
            str(sum(not _learnt(one) for one in draws)), str(_hits(draws, layers)),
            ", ".join(str(one.active) for one in draws),
        ))  # fmt: skip
    headings = (
        "layers of the teacher", "r", "draws", "as many active", "fits that learnt nothing", "recovered",
        "active layers by draw",
    )  # fmt: skip
    return Table("Active layers of students with nine hidden layers, both penalties", headings, tuple(cells))


def _learnt(one: Outcome) -> bool:
    """Whether the fit predicts better than half a deviation: a network that says one number has no layers to count."""
    return one.before is not None and one.before <= LEARNT


def _hits(draws: Sequence[Outcome], layers: int) -> int:
    """In how many draws the depth of the teacher is recovered by a fit that learnt something."""
    return sum(one.active == layers and _learnt(one) for one in draws)


def _hits_at(counts: Mapping[float, Sequence[Outcome]], layers: int, strength: float) -> int:
    """The same at one strength."""
    return _hits(counts[strength], layers)


def recovered(rows: Sequence[tuple[RowRuns, Outcome]]) -> dict[tuple[int, float], list[Outcome]]:
    """Outcomes by teacher and strength, one a draw."""
    made: dict[tuple[int, float], list[Outcome]] = {}
    for one, outcome in rows:
        if runs.arm_of(one.row) == runs.BOTH:
            key = runs.teacher_of(one.row)[0], runs.strength_of(one.row)
            made.setdefault(key, []).append(outcome)
    return dict(sorted(made.items()))


def outcomes_table(part: str, found: Mapping[str, Sequence[Outcome]]) -> Table:
    """A row a setting: mean and sample standard deviation."""
    form, factor = (NumberFormat(3), 1) if runs.of_students(part) else (NumberFormat(2), 100)

    def shown(values: Sequence[float | None]) -> str:
        there = [factor * value for value in values if value is not None]
        if not there:
            return MISSING
        spread = mean_and_spread(there)
        return form.show(spread.mean, spread.sd)

    rows = []
    for name, own in found.items():
        active = [one.active for one in own]
        rows.append((
            name, str(len(own)), f"{sum(active) / len(active):.1f} ({min(active)} to {max(active)})",
            shown([one.before for one in own]), shown([one.after for one in own]),
            shown([one.validation for one in own]), shown([one.test for one in own]),
            *(f"{round(sum(counts) / len(own)):,}" for counts in (
                [one.params for one in own], [one.nonzero for one in own], [one.macs for one in own]
            )),
        ))  # fmt: skip
    unit = "RMSE" if runs.of_students(part) else "error %"
    headings = (
        "arm", "runs", "active layers", f"{unit} before collapse", "after collapse", "after refit", f"test {unit}",
        "parameters", "non-zero weights", "MACs",
    )  # fmt: skip
    caption = f"{part}: means ± sample standard deviation over runs; the first three errors are of the validation split"
    return Table(caption, headings, tuple(rows))


def _targets(part: str, rows: Sequence[tuple[RowRuns, Outcome]]) -> list[Target]:
    """The figures to reach on a part."""
    if runs.of_students(part):
        return _recovery(rows)
    if part == runs.REFIT:
        return _refitted(rows)
    changes = [outcome.change for _, outcome in rows if outcome.change is not None]
    exact = Target(
        f"{part}, the collapse", "outputs unchanged but for rounding (1e-5, relative)",
        f"largest change {max(changes, default=0.0):.1e} over {counted(len(changes), 'run')}",
        verdict(max(changes) <= 1e-5) if changes else UNKNOWN,
    )  # fmt: skip
    return [*_depth(part, rows), exact]


def _refitted(rows: Sequence[tuple[RowRuns, Outcome]]) -> list[Target]:
    """The refit with the least validation error, against the network with one hidden layer."""
    found = grouped(runs.REFIT, rows)
    shallow = found.pop(runs.SHALLOW, [])
    if not found or not shallow:
        return []
    chosen = min(found, key=lambda name: mean_and_spread([one.validation for one in found[name]]).mean)
    most = max(one.active for one in found[chosen])
    errors = [mean_and_spread([100 * one.test for one in own]) for own in (found[chosen], shallow)]
    form = NumberFormat(2)
    return [Target(
        f"mnist5k, ten matrices, {chosen}",
        "at most 2 active layers in every run, and a mean test error no larger than with one hidden layer",
        f"at most {most}; {form.show(errors[0].mean, errors[0].sd)} % against "
        f"{form.show(errors[1].mean, errors[1].sd)} %, {counted(len(shallow), 'seed')}; chosen on the validation split",
        verdict(most <= 2 and errors[0].mean <= errors[1].mean),
    )]  # fmt: skip


def _recovery(rows: Sequence[tuple[RowRuns, Outcome]]) -> list[Target]:
    """A target a teacher: the best strength counts."""
    made = []
    for layers in sorted({runs.teacher_of(one.row)[0] for one, _ in rows}):
        counts = {r: draws for (own, r), draws in recovered(rows).items() if own == layers}
        if not counts:
            continue
        best = max(counts, key=partial(_hits_at, counts, layers))
        hits, draws = _hits(counts[best], layers), len(counts[best])
        lacking = draws < runs.DRAWS
        made.append(Target(
            f"teacher of {counted(layers, 'layer')}",
            f"as many active layers in {RECOVERED} of {runs.DRAWS} draws at some r, in a fit that learnt something",
            f"{hits} of {draws} at r = {best:g}", UNKNOWN if lacking else verdict(hits >= RECOVERED),
        ))  # fmt: skip
    return made


def _depth(part: str, rows: Sequence[tuple[RowRuns, Outcome]]) -> list[Target]:
    """Two active layers at most, and no larger test error than the network with one hidden layer."""
    arms = arms_of(part, rows)
    made = []
    for arm in (runs.LAYER, runs.BOTH):
        if arm not in arms or runs.SHALLOW not in arms:
            continue
        own, shallow = arms[arm], arms[runs.SHALLOW]
        most = max(one.active for one in own)
        errors = [100 * sum(one.test for one in each) / len(each) for each in (own, shallow)]
        made.append(Target(
            f"{part}, ten matrices, {arm}",
            "at most 2 active layers in every run, and a mean test error no larger than with one hidden layer",
            f"at most {most}; {errors[0]:.2f} % against {errors[1]:.2f} %, {counted(len(own), 'seed')}",
            verdict(most <= 2 and errors[0] <= errors[1]),
        ))  # fmt: skip
    return made


PAPER = Paper(
    name="layer-sparsity",
    title=_TITLE,
    data=None,
    quick_data=None,
    parts=runs.PARTS,
    extra_parts=runs.EXTRA_PARTS,
    plan=runs.plan,
    quick_settings=runs.quick,
    evaluate=evaluate,
    part_of=runs.part_of,
    repeats=runs.REPEATS,
)
