"""Fetching data sets that are not on this machine, with a progress bar on standard error."""

from collections.abc import Iterable
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from bayesprune.data import Data, describe, load
from bayesprune.experiments.commands.output import note, terminal


def fetch_missing(names: Iterable[str]) -> None:
    """Fetch those of the data sets that can be fetched and are not here.

    Raises:
        DataUnavailableError: one cannot be fetched; the message says where its files go.
    """
    absent = {info.name for info in describe() if info.present is False}
    for name in names:
        if name.partition("@")[0] in absent:  # of mnist@10000 the files are mnist's
            load_with_bar(name)


def load_with_bar(name: str, root: Path | None = None) -> Data:
    """Load a data set; a bar shows what is fetched and unpacked for it, or a line where there is no terminal."""
    console, drawn = terminal()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not drawn) as bar:
        tasks: dict[str, TaskID] = {}

        def report(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=total)
                if not drawn:
                    note(file if file.startswith("unpacking ") else f"fetching {file}")
            bar.update(tasks[file], completed=done, total=total)

        return load(name, root=root, progress=report)
