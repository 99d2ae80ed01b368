"""`bayesprune data`: what there is, where it lies, fetch it."""

import json as json_module
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from bayesprune.data import describe, load


def data(name: str | None = None, *, root: Path | None = None, json: bool = False) -> None:
    """List the data sets, or fetch one and say what it holds.

    Args:
        name: A data set's name; none lists all.
        root: Folder of the data files; by default BAYESPRUNE_DATA, else the user's cache folder.
        json: Print one JSON object.
    """
    if name is None:
        _list(root, json)
    else:
        _fetch(name, root, json)


def _list(root: Path | None, as_object: bool) -> None:
    """All data sets as a table or as JSON."""
    known = describe(root)
    if as_object:
        print(json_module.dumps({"schema": 1, "data": [info.as_dict() for info in known]}))
        return
    table = Table("name", "what", "examples", "here", "place")
    for info in known:
        examples = "" if info.examples is None else " + ".join(f"{count:,}" for count in info.examples)
        here = "" if info.present is None else ("yes" if info.present else "no")
        table.add_row(info.name, info.what, examples, here, info.place or "")
    Console(file=sys.stdout).print(table)


def _fetch(name: str, root: Path | None, as_object: bool) -> None:
    """Load one data set, fetching it when it is not there."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, object] = {}

        def report(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=total)
            bar.update(tasks[file], completed=done, total=total)  # type: ignore[arg-type]  # a rich TaskID

        loaded = load(name, root=root, progress=report)
    described = {
        "name": loaded.name,
        "input_shape": list(loaded.input_shape),
        "classes": loaded.classes,
        "split_sizes": loaded.split_sizes,
        "mean": list(loaded.normalisation.mean),
        "std": list(loaded.normalisation.std),
        "fingerprint": loaded.fingerprint,
    }
    if as_object:
        print(json_module.dumps({"schema": 1} | described))
        return
    sizes = ", ".join(f"{count:,} {split}" for split, count in loaded.split_sizes.items())
    print(f"{loaded.name}: {sizes}; inputs {loaded.input_shape}, {loaded.classes} classes")
