"""The study of networks for CIFAR-10: what its runs come to."""

from collections.abc import Sequence
from dataclasses import asdict

from bayesprune.experiments.configurations import unique_runs
from bayesprune.experiments.papers.cifar import runs
from bayesprune.experiments.papers.cifar.published import NOTES, PUBLISHED
from bayesprune.experiments.papers.cifar.tables import beside_published
from bayesprune.experiments.papers.cifar.targets import targets
from bayesprune.experiments.papers.paper import Findings, Paper
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.verdicts import summary, targets_table
from bayesprune.experiments.report.sections import Document, Section
from bayesprune.experiments.words import counted, listed

_TITLE = "Networks for CIFAR-10 at published sizes"


def evaluate(found: Sequence[RowRuns]) -> Findings:
    """Tables and verdicts from the runs of the study; rows without runs are left out."""
    made = [one for one in found if one.records]
    reached, skipped = targets(found), skipped_lines(found)
    sections = [Section("Figures to reach", tables=[targets_table(reached, "Figures to reach, last epoch")])]
    for part in dict.fromkeys(runs.part_of(one.row) for one in made):
        rows = [one for one in made if runs.part_of(one.row) == part]
        network = rows[0].row.network
        sections.append(Section(_named(part, network), tables=[beside_published(network, rows)], notes=_apart(rows)))
    sections.append(Section("What was done", notes=[*skipped, *_notes(made), *NOTES]))
    records = unique_runs([run for one in made for run in one.records])
    data = dict.fromkeys(str(run.data["name"]) for run in records)
    time = sum(float(run.result["train_seconds"]) for run in records)
    subtitle = f"{counted(len(records), 'run')} on {listed([*data])}; {time:,.0f} s of training."
    document = Document(_TITLE, subtitle, summary(reached), tuple(sections))
    values = {
        "targets": [asdict(one) for one in reached],
        "published": {name: [asdict(row) for row in rows] for name, rows in PUBLISHED.items()},
    }
    return Findings(document, values, [*skipped, *(one.line() for one in reached), summary(reached)])


def skipped_lines(found: Sequence[RowRuns]) -> list[str]:
    """What was left out or replaced, a line each."""
    lines = []
    if any(run.data["name"] == runs.FALLBACK for one in found for run in one.records):
        lines.append(
            f"CIFAR-10 is not on this machine: these runs are on {runs.FALLBACK}; `bayesprune data cifar10` says where "
            "it is looked for"
        )
    return lines


def _named(part: str, network: str) -> str:
    """The title of a part's section."""
    title = runs.TITLES[network]
    if part.endswith(runs.SMALL):
        return f"{title} at a processor's size: the price of layer gates is chosen on the validation split"
    return f"{title}, the published number of epochs" if part.endswith(runs.LONG) else title


def _apart(rows: Sequence[RowRuns]) -> list[str]:
    """What keeps our rows from being compared with published ones."""
    data = {str(run.data["name"]) for one in rows for run in one.records} - {"cifar10"}
    found = []
    if data:
        found.append(
            "Published rows are of CIFAR-10 with all its training images; these runs are on "
            f"{listed(sorted(data))}, so that they cannot be compared."
        )
    widths = {one.row.settings.widths for one in rows} - {None}
    if widths:
        named = listed(["-".join(map(str, one)) for one in widths if one is not None])
        found.append(f"These networks are narrower than published ones, at widths {named}: no row compares.")
    return found


def _notes(rows: Sequence[RowRuns]) -> list[str]:
    """How the figures came about."""
    sizes = {str(run.data["name"]): run.data["split_sizes"] for one in rows for run in one.records}
    found = [
        f"Examples of {name}: {size['train']:,} to train, {size['validation']:,} to validate, {size['test']:,} to test."
        for name, size in sizes.items()
    ]
    if any("JPEG copy" in name for name in sizes):
        found.append("The JPEG copy of CIFAR-10 is lossy: its figures are not those of CIFAR-10.")
    return [
        *found,
        "Training pictures are moved by up to 4 places and half of them mirrored. Weights learn by gradient descent "
        "with momentum 0.9 along half a cosine, at fixed structure with a decay of 5e-4, and gates beside Adam before "
        "that. Batch normalisation is estimated anew on unchanged training pictures when training is over.",
        "Where a budget is named no run is above it. ± is the sample standard deviation over seeds.",
    ]


PAPER = Paper(
    name="cifar",
    title=_TITLE,
    data=None,
    quick_data=None,
    parts=runs.NETWORKS,
    extra_parts=(*(f"{network}{runs.LONG}" for network in runs.NETWORKS), f"resnet20{runs.SMALL}"),
    plan=runs.plan,
    quick_settings=runs.quick,
    evaluate=evaluate,
    part_of=runs.part_of,
)
