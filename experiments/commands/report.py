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

    finish(in_order(run_folders(runs)), out, json, "Pruning runs")


def in_order(folders: Sequence[Path]) -> list[Path]:
    """Run folders by network and data, dense first, then ours, then the others; by size and seed within a method."""
    from bayesprune.experiments.run_settings import method_of, place_of
    from bayesprune.experiments.verdict import REFERENCE
    from bayesprune.store.runs import RunRecord

    def place(folder: Path) -> tuple[object, ...]:
        record = RunRecord.read(folder)
        method = method_of(record)
        values = [record.settings.get(name) for name in ("epochs", "price", "density")]
        numbers = [float(value) if isinstance(value, int | float) else 0.0 for value in values]
        return place_of(record), method != "dense", method != REFERENCE, method, numbers, record.result["seed"]

    return sorted(folders, key=place)


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
        if not inside and place.is_file() and place.name != "run.json" and len(places) > 1:
            continue  # of a shell's runs/*, beside the run folders: a page, a picture
        if not inside:
            raise SettingError(f"{place} holds no finished run: give a folder with run.json, or one that holds such")
        found.extend(inside)
    if not found:
        raise SettingError("give at least one run folder, for example runs")
    return found
