"""`bayesprune posterior`: what a run says of the structure."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bayesprune.errors import SettingError
from bayesprune.experiments.commands.flags import JSON
from bayesprune.experiments.commands.report import run_folders

if TYPE_CHECKING:
    from bayesprune.store.runs import RunRecord


def posterior(
    *runs: Annotated[Path, Parameter(negative=())],
    draws: int = 1000,
    plot: Path | None = None,
    netcdf: Path | None = None,
    examples: int | None = None,
    json: JSON = False,
) -> None:
    """ArviZ summary and plot of the gates of a run, or of several restarts of it as chains; evidence of the first.

    Args:
        runs: Folders of Bayesian runs that differ in their seed only; others beside them are passed over.
        draws: Draws a chain.
        plot: Picture to write (.png or .svg); by default posterior.png in the first run's folder.
        netcdf: Also write the draws as a NetCDF file that ArviZ reads.
        examples: Training examples on which the evidence for every unit of the first run is taken; 0 for no evidence;
            by default as many as take no more than a minute or so.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.output import answer, answer_object
    from bayesprune.experiments.evidence_view import document, evidence_of, plot_evidence
    from bayesprune.experiments.posterior_view import plot_posterior, summarise
    from bayesprune.run.evidence import Evidence
    from bayesprune.run.settings import check_integer
    from bayesprune.store.runs import RunRecord

    records = [record for record in map(RunRecord.read, run_folders(runs)) if record.posterior is not None]
    if not records:
        raise SettingError("none of these runs has a posterior: give a run of a Bayesian method, such as parsimonious")
    if examples is not None:
        check_integer("examples", examples, 0)
    summary = summarise(records, draws)
    folder = records[0].folder or Path()
    picture = plot_posterior(records, plot or folder / "posterior.png")
    found = None if examples == 0 else evidence_of(records[0], examples)
    units = picture.with_name("evidence.png") if plot is None else picture.with_stem(f"{picture.stem}-evidence")
    if isinstance(found, Evidence):
        plot_evidence(found, units, records[0].input_shape)
    if netcdf is not None:
        write_netcdf(records, draws, netcdf)
    if json:
        written: dict[str, Any] = {"plot": str(picture), "netcdf": None if netcdf is None else str(netcdf)}
        written |= {"evidence": None, "evidence_plot": None, "no_evidence": found if isinstance(found, str) else None}
        if isinstance(found, Evidence):
            written |= {"evidence": document(found), "evidence_plot": str(units)}
        answer_object({"schema": 1, "runs": [record.id for record in records]} | written | summary.document())
        return
    answer(summary.text())
    if found is not None:
        said = f"no evidence: {found}" if isinstance(found, str) else f"{found.table()}\n\nevidence plot: {units}"
        answer(f"\n{said}")
    answer(f"\nplot: {picture}")


def write_netcdf(records: "Sequence[RunRecord]", draws: int, path: Path) -> None:
    """Write draws from the posteriors as NetCDF, whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    from bayesprune.run.datatree import to_datatree
    from bayesprune.store.atomic import write_bytes, write_error

    tree = to_datatree(records, draws)
    try:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "draws.nc"
            tree.to_netcdf(file, engine="h5netcdf")
            content = file.read_bytes()
    except OSError as error:
        raise write_error(path, error) from error
    write_bytes(path, content)
