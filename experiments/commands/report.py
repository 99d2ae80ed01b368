"""`bayesprune report`: the page of finished runs."""

from pathlib import Path

from bayesprune.errors import SettingError
from bayesprune.experiments.commands.shared import finish


def report(*runs: Path, out: Path = Path("report.html"), json: bool = False) -> None:
    """Write the page of finished runs.

    Args:
        runs: Run folders, or folders that hold run folders.
        out: The page.
        json: Print one JSON object.
    """
    finish(run_folders(runs), out, json, "Pruning runs")


def run_folders(places: tuple[Path, ...]) -> list[Path]:
    """The run folders among or inside the given folders.

    Raises:
        SettingError: there is none.
    """
    found: list[Path] = []
    for place in places:
        inside = [place] if (place / "run.json").exists() else sorted(p.parent for p in place.glob("*/run.json"))
        if not inside:
            raise SettingError(f"{place} holds no finished run: give a folder with run.json, or one that holds such")
        found.extend(inside)
    if not found:
        raise SettingError("give at least one run folder, for example runs/*")
    return found
