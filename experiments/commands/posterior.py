"""`bayesprune posterior`: what a run says of the structure."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bayesprune.errors import SettingError
from bayesprune.experiments.commands.flags import Switch
from bayesprune.experiments.commands.report import run_folders


def posterior(
    *runs: Annotated[Path, Parameter(negative=())],
    draws: int = 1000,
    plot: Path | None = None,
    netcdf: Path | None = None,
    json: Switch = False,
) -> None:
    """ArviZ summary and plot of the gates of a run, or of several restarts of it as chains.

    Args:
        runs: Folders of Bayesian runs that differ in their seed only; others beside them are passed over.
        draws: Draws a chain.
        plot: Picture to write (.png or .svg); by default posterior.png in the first run's folder.
        netcdf: Also write the draws as a NetCDF file that ArviZ reads.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.output import answer, answer_object
    from bayesprune.experiments.posterior_view import plot_posterior, summarise
    from bayesprune.store.runs import RunRecord

    folders = run_folders(runs)
    records = [record for record in map(RunRecord.read, folders) if record.posterior is not None]
    if not records:
        raise SettingError(
            "none of these runs has a posterior: give a run of a Bayesian method, such as parsimonious"
        )
    summary = summarise(records, draws)
    picture = plot_posterior(records, plot or folders[0] / "posterior.png")
    if netcdf is not None:
        write_netcdf(records, draws, netcdf)
    if json:
        written = {"plot": str(picture), "netcdf": None if netcdf is None else str(netcdf)}
        answer_object({"schema": 1, "runs": [record.id for record in records]} | written | summary.document())
        return
    answer(summary.text())
    answer(f"\nplot: {picture}")
