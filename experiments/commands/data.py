"""`bayesprune data`: what there is, where it lies, fetch it."""

from pathlib import Path
from typing import TYPE_CHECKING

from bayesprune.experiments.commands.flags import Switch

if TYPE_CHECKING:
    from bayesprune.data import Data
    from bayesprune.data.catalogue import DataInfo


def data(name: str | None = None, /, *, root: Path | None = None, json: Switch = False) -> None:
    """List the data sets, or fetch one and say what it holds.

    Args:
        name: A data set's name; none lists all.
        root: Folder of the data files; by default BAYESPRUNE_DATA, else the user's cache folder.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.output import answer, answer_object

    if name is None:
        from bayesprune.data import describe

        known = describe(root)
        if json:
            answer_object({"schema": 1, "data": [info.as_dict() for info in known]})
        else:
            answer("\n".join(_entry(info) for info in known))
        return
    from bayesprune.experiments.commands.fetching import load_with_bar

    found = _described(load_with_bar(name, root))
    if json:
        answer_object({"schema": 1} | found)
    else:
        sizes = ", ".join(f"{count:,} {split}" for split, count in found["split_sizes"].items())
        shape = " x ".join(str(size) for size in found["input_shape"])
        answer(f"{found['name']}: {sizes}; inputs {shape}, {found['classes']} classes")
