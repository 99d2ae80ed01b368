"""`bayesprune report`: the page of finished runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bayesprune.errors import SettingError
from bayesprune.experiments.commands.flags import JSON


def report(*runs: Annotated[Path, Parameter(negative=())], out: Path = Path("report.html"), json: JSON = False) -> None:
    """Write the page of finished runs.

    Args:
        runs: Run folders, or folders that hold run folders.
        out: The page.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.shared import finish

    finish(run_folders(runs), out, json, "Pruning runs")


def run_folders(places: Sequence[Path]) -> list[Path]:
    """The run folders among or inside the given folders.

    Raises:
        SettingError: there is none.
    """
    found: list[Path] = []
    for place in places:
        if (place / "run.json").exists():
            inside = [place]
        else:
            inside = sorted(file.parent for file in place.glob("*/run.json"))
        if not inside:
            raise SettingError(f"{place} holds no finished run: give a folder with run.json, or one that holds such")
        found.extend(inside)
    if not found:
        raise SettingError("give at least one run folder, for example runs")
    return found
