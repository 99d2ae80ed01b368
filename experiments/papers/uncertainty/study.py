"""The study of uncertainty: what its runs come to."""

from collections.abc import Sequence

from bayesprune.experiments.configurations import unique_runs
from bayesprune.experiments.papers.paper import Findings, Paper
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.uncertainty import runs
from bayesprune.experiments.papers.uncertainty.measure import CHAINS, DRAWS, WARM_UP, measured
from bayesprune.experiments.papers.uncertainty.plots import sketches
from bayesprune.experiments.papers.uncertainty.tables import predictors_table
from bayesprune.experiments.papers.uncertainty.targets import targets
from bayesprune.experiments.papers.verdicts import findings_of
from bayesprune.experiments.report.sections import Section
from bayesprune.experiments.words import counted

_TITLE = "What the posterior is good for"


def evaluate(found: Sequence[RowRuns]) -> Findings:
    """The table, the pictures and the verdicts from the networks of the runs."""
    values, other = measured(found)
    reached = targets(values)
    own = next((str(run.data["name"]) for one in found for run in one.records), "-")
    predictions = Section(
        "Predictions",
        tables=[predictors_table(values, own, other)],
        notes=_notes(found, other),
        pictures=sketches(values, other),
    )
    return findings_of(
        _TITLE, _subtitle(found), reached, f"On {own}, last epoch", [predictions],
        other_data=other, measured=[one.to_json() for one in values],
    )  # fmt: skip


def _notes(found: Sequence[RowRuns], other: str) -> list[str]:
    """How the figures came about."""
    epochs = sorted({int(run.settings["epochs"]) for one in found for run in one.records})
    widths = "-".join(map(str, runs.SMALL_WIDTHS))
    return [
        f"All networks are LeNet-300-100, trained for {', '.join(map(str, epochs))} epochs; figures are those of the "
        "last epoch, and no run uses the test split before it has ended.",
        f"Restarts: {runs.MEMBERS} compact networks from different seeds ({runs.QUICK_MEMBERS} in the quick study). "
        "The compact network alone, and its draws, are those of the first of them.",
        f"Posterior draws: {DRAWS} draws of the gates that are left, by their inclusion probabilities before the last "
        f"decisions. Gibbs draws: {CHAINS} chains of {DRAWS // CHAINS} after {WARM_UP} sweeps, at the run's weights.",
        f"The small deep ensemble has as many members as there are restarts, dense networks of widths {widths}.",
        "MC dropout closes hidden channels with the method's default rate and averages its default number of passes.",
        f"Other data: {other}; prepared as the own inputs. AUROC is the chance that one of their images gets a higher "
        "entropy (or a lower highest probability) than one of the own test images.",
        "± is the sample standard deviation over repeats: how far single repeats lie apart.",
    ]


def _subtitle(found: Sequence[RowRuns]) -> str:
    """How many runs, how long."""
    made = unique_runs([run for one in found for run in one.records])
    seconds = sum(float(run.result["train_seconds"]) for run in made)
    return f"{counted(len(made), 'run')}; {seconds:,.0f} s of training."


PAPER = Paper(
    name="uncertainty",
    title=_TITLE,
    data="mnist",
    quick_data="mnist5k",
    parts=(runs.BASE.network,),
    plan=runs.plan,
    quick_settings=runs.quick,
    evaluate=evaluate,
    repeats=runs.REPEATS,
)
