"""`bayesprune posterior`: what a run says of the structure."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bayesprune.errors import SettingError
from bayesprune.experiments.commands.flags import JSON
from bayesprune.experiments.commands.report import run_folders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bayesprune.experiments.evidence_view import WithData
    from bayesprune.experiments.prediction_view import Predictions
    from bayesprune.store.runs import RunRecord


def posterior(
    *runs: Annotated[Path, Parameter(negative=())],
    draws: int = 1000,
    plot: Path | None = None,
    netcdf: Path | None = None,
    examples: int | None = None,
    json: JSON = False,
) -> None:
    """ArviZ summary and pictures of the gates of a run, or of restarts of it as chains; evidence; predictions.

    Pictures: inclusion probabilities (posterior), the evidence of each run (evidence), and for restarts how far they
    agree (agreement); where the data can be loaded by name, for classification, how far predicted probabilities hold
    (calibration) and the predictive entropy of right and wrong answers (entropy).

    Args:
        runs: Folders of Bayesian runs that differ in their seed only; others beside them are passed over.
        draws: Draws a chain.
        plot: First picture to write (.png or .svg), the others beside it as NAME-evidence and so on; by default
            posterior.png, evidence.png and so on in the first run's folder, evidence in that of each run.
        netcdf: Also write the draws, with what was predicted, as a NetCDF file that ArviZ reads.
        examples: Training examples on which the evidence for every unit is taken, and test examples that are predicted;
            0 for neither; by default as many as take no more than a minute or so.
        json: Print one JSON object.
    """
    from bayesprune.experiments.agreement_view import plot_agreement
    from bayesprune.experiments.commands.output import answer, answer_object
    from bayesprune.experiments.evidence_view import all_with_data
    from bayesprune.experiments.posterior_view import plot_posterior, summarise
    from bayesprune.experiments.prediction_view import predictions_of
    from bayesprune.run.settings import check_integer
    from bayesprune.store.atomic import check_writable
    from bayesprune.store.runs import RunRecord

    records = [record for record in map(RunRecord.read, run_folders(runs)) if record.posterior is not None]
    if not records:
        raise SettingError("none of these runs has a posterior: give a run of a Bayesian method, such as parsimonious")
    if examples is not None:
        check_integer("examples", examples, 0)
    for file in (plot, netcdf):
        if file is not None:
            check_writable(file.parent)  # before the work
    summary = summarise(records, draws)
    picture = plot_posterior(records, plot or (records[0].folder or Path()) / "posterior.png")
    written = {"plot": str(picture), "agreement_plot": None, "calibration_plot": None, "entropy_plot": None}
    if len(records) > 1:
        written["agreement_plot"] = str(plot_agreement(records, _beside(picture, "agreement", plot)))
    loaded = [] if examples == 0 else all_with_data(records)
    evidence = [] if examples == 0 else _evidence(records, loaded, examples, picture, plot)
    found = "" if examples == 0 else predictions_of(records, draws, examples, loaded)
    if not isinstance(found, str):
        written |= _pictures(found, picture, plot)
    if netcdf is not None:
        _write_netcdf(records, draws, found, netcdf)
    if json:
        predicted = {"predictions": None, "no_predictions": found or None} if isinstance(found, str) else {
            "predictions": found.document(), "no_predictions": None
        }  # fmt: skip
        document = {"schema": 1, "runs": [record.id for record in records]} | written
        document |= {"netcdf": None if netcdf is None else str(netcdf)}
        answer_object(document | {"evidence": [one for one, _ in evidence]} | predicted | summary.document())
        return
    answer(summary.text())
    for _, words in evidence:
        answer(f"\n{words}")
    if found:
        answer(f"\nno predictions: {found}" if isinstance(found, str) else f"\n{found.text()}")
    for name, path in written.items():
        if path is not None:
            answer(f"\n{name.replace('_', ' ')}: {path}" if name == "plot" else f"{name.replace('_', ' ')}: {path}")


def _beside(picture: Path, name: str, plot: Path | None) -> Path:
    """Where another picture goes: its own name in the folder of the first, or the first's name with its own."""
    return picture.with_name(f"{name}.png") if plot is None else picture.with_stem(f"{picture.stem}-{name}")


def _evidence(
    records: "Sequence[RunRecord]",
    loaded: "Sequence[WithData | str]",
    examples: int | None,
    picture: Path,
    plot: Path | None,
) -> list[tuple[dict[str, Any], str]]:
    """What is said of the evidence of each run, as JSON and in words; its pictures are written."""
    from bayesprune.experiments.evidence_view import document, evidence_of, plot_evidence

    found = []
    for record, known_of in zip(records, loaded, strict=True):
        seed = record.result["seed"]
        one = evidence_of(record, examples, len(records), known_of)
        known: dict[str, Any] = {"run": record.id, "seed": seed}
        title = f"Run {record.id}, seed {seed}: " if len(records) > 1 else ""
        if isinstance(one, str):
            found.append((known | {"found": None, "plot": None, "no_evidence": one}, f"{title}no evidence: {one}"))
            continue
        name = "evidence" if len(records) == 1 or plot is None else f"evidence-{record.id}"
        place = _beside(picture if plot is not None else (record.folder or Path()) / picture.name, name, plot)
        plot_evidence(one, place, record.input_shape)
        known |= {"found": document(one), "plot": str(place), "no_evidence": None}
        found.append((known, f"{title}{one.table()}\n\nevidence plot: {place}"))
    return found


def _pictures(found: "Predictions", picture: Path, plot: Path | None) -> dict[str, str]:
    """Where the pictures of predictions are; none for another task than classification."""
    from bayesprune.experiments.prediction_view import plot_calibration, plot_entropy

    if found.confidence is None:
        return {}
    return {
        "calibration_plot": str(plot_calibration(found, _beside(picture, "calibration", plot))),
        "entropy_plot": str(plot_entropy(found, _beside(picture, "entropy", plot))),
    }


def _write_netcdf(records: "Sequence[RunRecord]", draws: int, found: "Predictions | str", path: Path) -> None:
    """Write draws from the posteriors, and what they predicted."""
    from bayesprune.experiments.facade import to_datatree
    from bayesprune.run.tree.files import save_tree

    save_tree(to_datatree(list(records), draws, predicted=None if isinstance(found, str) else found.predicted), path)
