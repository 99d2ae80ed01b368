"""The report page: what goes into it, and its writing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayesprune.errors import SettingError
from bayesprune.experiments.configurations import Configuration, configurations, unique_runs
from bayesprune.experiments.gates import gates_sentence, warning_lines
from bayesprune.experiments.report.tables import (
    Table,
    gates_table,
    layer_table,
    recall_tables,
    runs_table,
    settings_tables,
    summary_table,
    whole_layers,
)
from bayesprune.experiments.report.words import clean, seeds_sentence
from bayesprune.experiments.run_settings import place_of
from bayesprune.experiments.scores import score_of, scores_of
from bayesprune.experiments.summary import metrics_for
from bayesprune.experiments.words import counted, listed
from bayesprune.store.atomic import write_text
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from bayesprune.experiments.report.pictures import Picture

_TEMPLATE = "report.html.jinja"


@dataclass(frozen=True)
class Gallery:
    """The pictures of one run's inclusion probabilities.

    Attributes:
        heading: method and seed.
        note: how many gates stay open, and why the others were closed.
        table: the same by group; None where the run does not say.
        pictures: one a group.
    """

    heading: str
    note: str
    table: Table | None
    pictures: "list[Picture]"


@dataclass(frozen=True)
class Layers:
    """The layer tables of one configuration.

    Attributes:
        heading: its label.
        first: of its first run.
        others: of its other runs.
        unchanged: whether all its runs keep every unit, so that there is little to see.
        whole: the layers that lose no channel whatever the method does, each with the reason.
    """

    heading: str
    first: Table
    others: tuple[Table, ...]
    unchanged: bool
    whole: list[str]


def write_report(
    records: Sequence[RunRecord],
    path: Path,
    *,
    title: str | None = None,
    verdict: str | None = None,
) -> Path:
    """Write one self-contained HTML page about some finished runs; it opens from disk and needs no network.

    Args:
        records: the runs; methods appear in their order, and a run that is given twice counts once.
        path: of the page; its folder is made where missing, and an old page is replaced in one step.
        title: heading; None for the networks and data of the runs.
        verdict: the sentence that answers the question of the study, shown on top.

    Returns:
        `path`.

    Raises:
        SettingError: there is no run.
        StoreError: a run's posterior is damaged, or the page cannot be written.
    """
    if not records:
        raise SettingError("there is no run to report on: name at least one finished run")
    write_text(path, render(records, title=title, verdict=verdict))
    return path


def render(records: Sequence[RunRecord], *, title: str | None = None, verdict: str | None = None) -> str:
    """The text of the page that `write_report` writes, which says what the arguments are."""
    found = configurations(records)
    context = _context(found, records) | {"title": title or _title(found), "verdict": verdict}
    return render_template(_TEMPLATE, context)


def render_template(name: str, context: Mapping[str, Any]) -> str:
    """The text of a page from one of the templates here, everything in it escaped."""
    text: str = _environment().get_template(name).render(context)
    return text


def _context(found: list[Configuration], records: Sequence[RunRecord]) -> dict[str, Any]:
    """Everything the template shows, apart from title and verdict."""
    from bayesprune.experiments.report import plots
    from bayesprune.experiments.report.structure_plots import pixel_picture

    by_epoch = [plots.macs_by_epoch(found), plots.seconds_by_epoch(found)]
    pixels = [pixel_picture(one, f"pixels-{place}") for place, one in enumerate(found)]
    return {
        "subtitle": _subtitle(found),
        "summary": summary_table(records),
        "warnings": warning_lines(unique_runs(records)),
        "metrics": metrics_for(records),
        "directions": _directions(records),
        "interval_of_images": any(score_of(run).counts_examples for run in records),
        "other_intervals": not all(score_of(run).counts_examples for run in records),
        "recalls": recall_tables(found),
        "scatters": plots.scores_against_macs(found),
        "galleries": _galleries(found),
        "by_epoch": [picture for picture in by_epoch if picture is not None],
        "pixels": [picture for picture in pixels if picture is not None],
        "layers": [_layers(one) for one in found if one.records[0].layers],
        "runs": runs_table(found, records),
        "settings": settings_tables(found),
        "seeds": seeds_sentence(found),
        "several_seeds": any(len(one.records) > 1 for one in found),
        "run_count": sum(len(one.records) for one in found),
        "splits": _splits(found),
    }


def _environment() -> Any:
    """Jinja that escapes everything, refuses unknown names, and replaces what a page cannot hold."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )


def _galleries(found: Sequence[Configuration]) -> list[Gallery]:
    """Pictures of the first run with a posterior of every configuration that has one."""
    from bayesprune.experiments.report.structure_plots import inclusion_pictures

    galleries = []
    for place, one in enumerate(found):
        run = next((run for run in one.records if run.posterior is not None), None)
        pictures = inclusion_pictures(run, f"inclusion-{place}") if run is not None else []
        if run is not None and pictures:
            heading = f"{one.label}, seed {run.result['seed']}"
            table = gates_table(run, f"What happened to the gates of {heading}")
            galleries.append(Gallery(heading, gates_sentence(run), table, pictures))
    return galleries


def _layers(found: Configuration) -> Layers:
    first, *others = (layer_table(run, f"{found.label}, seed {run.result['seed']}") for run in found.records)
    rows = [layer for run in found.records for layer in run.layers]
    unchanged = all(row[side] == row[f"dense_{side}"] for row in rows for side in ("inputs", "outputs"))
    return Layers(found.label, first, tuple(others), unchanged, whole_layers(found.records[0]))


def _title(found: Sequence[Configuration]) -> str:
    places = dict.fromkeys(place_of(run) for one in found for run in one.records)
    return "Pruning " + listed([f"{network or 'a network'} on {data}" for network, data in places])


def _subtitle(found: Sequence[Configuration]) -> str:
    """Which methods, how many runs, how long."""
    runs = [run for one in found for run in one.records]
    seconds = sum(run.result["train_seconds"] for run in runs)
    return f"{counted(len(runs), 'run')}: {listed([one.label for one in found])}; {seconds:,.0f} s of training."


def _directions(records: Sequence[RunRecord]) -> str:
    """Of which metrics more is better, and of which less."""
    scores = scores_of(records)
    kinds = [
        ("Higher is better", [one.label for one in scores if one.direction and one.higher_is_better]),
        ("Lower is better", [*(one.label for one in scores if not one.higher_is_better), "all costs"]),
    ]
    return " ".join(f"{side}: {listed(labels)}." for side, labels in kinds if labels)


def _splits(found: Sequence[Configuration]) -> list[str]:
    """The sizes of the splits of every data set."""
    data = {run.data["name"]: run.data["split_sizes"] for one in found for run in one.records}
    return [
        f"{name}: {sizes['train']:,} to train, {sizes['validation']:,} to validate, {sizes['test']:,} to test"
        for name, sizes in data.items()
    ]
