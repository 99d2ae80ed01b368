"""The study of the pruning experiments of arXiv 2107.12917: what its runs come to."""

from collections.abc import Sequence
from dataclasses import asdict

from bayesprune.experiments.configurations import unique_runs
from bayesprune.experiments.papers.hidden_structures import graphs_part, prediction, rnn_runs, runs, search
from bayesprune.experiments.papers.hidden_structures.differences import differences_table
from bayesprune.experiments.papers.hidden_structures.new_networks import networks_findings
from bayesprune.experiments.papers.hidden_structures.plots import accuracy_sketch
from bayesprune.experiments.papers.hidden_structures.reber_runs import REBER
from bayesprune.experiments.papers.hidden_structures.rnn_study import rnn_sections, rnn_targets
from bayesprune.experiments.papers.hidden_structures.structured_runs import STRUCTURED
from bayesprune.experiments.papers.hidden_structures.structured_tables import structured_section
from bayesprune.experiments.papers.hidden_structures.tables import (
    EXPERIMENTS,
    controls_table,
    experiment_table,
    foresight_table,
    mean_accuracy,
)
from bayesprune.experiments.papers.hidden_structures.targets import runs_of, targets
from bayesprune.experiments.papers.paper import Findings, Paper
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.verdicts import summary, targets_table
from bayesprune.experiments.report.pictures import Sketch
from bayesprune.experiments.report.sections import Document, Section
from bayesprune.experiments.words import counted, listed

_TITLE = "Pruning methods compared"
_PICTURES = {"1": "25%, net 0", "2": "25%, 2 epochs", "3": "1,000 weights", "5": "25%"}
_DIFFERENCES = (
    "In brackets the 95 % interval of Student's t for pairs: of the same network, step and repeat. Where it leaves out "
    "0 the difference is significant; repeats begin with the same weights, so it speaks of these networks.",
)
_NOTES = (
    "Every accuracy is that of the last epoch on the test split, “best with half gone” excepted: it is the best over "
    "the steps of a run, as the authors kept it. Nothing is chosen by the test split.",
    "± is the sample standard deviation over repeats. Repeats of one network begin with the same weights and differ in "
    "the order of examples (and, for random pruning, in what is removed).",
    "The last step of a run ends at the fewest weights exactly, where the authors' stopped at the first below it.",
    "OBD's second derivatives are those of 1,000 training images, where the authors took 10,000 validation images; "
    "dropout is Gaussian, of the same variance as p of Bernoulli dropout.",
    "Published: 97.5 % after 80 % of the weights were removed, 0.5 points above the unpruned network; class-uniform is "
    "significantly worse than class-blinded (abstract of arXiv 2107.12917). Single methods' figures could not be read.",
)


def evaluate(found: Sequence[RowRuns]) -> Findings:
    """Tables, pictures and verdicts from the runs of the study; rows without runs are left out."""
    if found and all(runs.part_of(one.row) == REBER for one in found):
        return networks_findings(found)
    reached = [*targets(found), *rnn_targets(found)]
    sections = [
        Section("Figures to reach", tables=[targets_table(reached, "Figures to reach, MNIST, last epoch")]),
        *_experiments(found),
        *_before_training(found),
        *rnn_sections(found),
        *(section for section in [structured_section(found)] if section is not None),
        Section("What was done", notes=_NOTES),
    ]
    made = unique_runs([run for one in found for run in one.records])
    data = dict.fromkeys(str(run.data["name"]) for run in made)
    subtitle = f"{counted(len(made), 'run')} on {listed([*data])}."
    document = Document(_TITLE, subtitle, summary(reached), tuple(sections))
    values = {"targets": [asdict(target) for target in reached]}
    return Findings(document, values, [*(one.line() for one in reached), summary(reached)])


def _experiments(found: Sequence[RowRuns]) -> list[Section]:
    """The five experiments and the controls, each with its table and its picture."""
    sections = []
    for number in EXPERIMENTS:
        network = "lenet300" if number == "5" else "mlp"
        dense = [run for run in runs_of(found, "dense") if run.settings["network"] == network]
        table = experiment_table(number, found, mean_accuracy(dense))
        if table is not None:
            wide = [sketch] if (sketch := _picture(number, found)) is not None else []
            sections.append(Section(f"Experiment {number}", tables=[table], wide=wide))
    differences, controls = differences_table(found), controls_table(found)
    if differences is not None:
        sections.append(Section("Differences", tables=[differences], notes=_DIFFERENCES))
    return sections if controls is None else [*sections, Section("Other regularisers", tables=[controls])]


def _picture(number: str, found: Sequence[RowRuns]) -> Sketch | None:
    """Accuracy against weights for one setting of an experiment of many steps: the gentlest where it was run."""
    if number not in _PICTURES:
        return None
    run = [one.row.value for one in found if one.row.factor.startswith(f"{number}: ") and one.records]
    return accuracy_sketch(number, _PICTURES[number] if _PICTURES[number] in run else run[0], found)


def _before_training(found: Sequence[RowRuns]) -> list[Section]:
    """Methods that prune before training."""
    tables = [table for network in ("lenet300", "lenet5") if (table := foresight_table(network, found)) is not None]
    notes = (
        "“shuffle” moves the entries of every layer's mask about, “fresh” draws all weights anew: where these are no "
        "worse, only the layers' shares of the weights mattered.",
    )
    return [Section("Pruned before training", tables=tables, notes=notes)] if tables else []


PAPER = Paper(
    name="hidden-structures",
    title=_TITLE,
    data=None,
    quick_data=None,
    parts=(runs.PRUNING, runs.BEFORE, STRUCTURED),
    plan=runs.plan,
    quick_settings=runs.quick,
    evaluate=evaluate,
    part_of=runs.part_of,
    repeats=2,
    extra_parts=(REBER, *rnn_runs.PARTS),
    computed={"graphs": graphs_part.evaluate, "prediction": prediction.evaluate},
    searched={"search": search.evaluate},
)
