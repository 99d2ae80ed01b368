"""`bayesprune data`: what there is, where it lies, fetch it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayesprune.experiments.commands.flags import JSON

_STRINGS = ("reber", "reber-embedded", "reber-hard", "reber-study")

if TYPE_CHECKING:
    from bayesprune.data import Data
    from bayesprune.data.catalogue import DataInfo


def data(name: str | None = None, /, *, root: Path | None = None, json: JSON = False) -> None:
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

    loaded = load_with_bar(name, root)
    found = _described(loaded)
    if name.partition("@")[0] in _STRINGS:
        from bayesprune.data.reber import reber_baselines

        found["baselines"] = {one.name: one.accuracy for one in reber_baselines(loaded)}
    if json:
        answer_object({"schema": 1} | found)
    else:
        sizes = ", ".join(f"{count:,} {split}" for split, count in found["split_sizes"].items())
        shape = " x ".join(str(size) for size in found["input_shape"])
        answer(f"{found['name']}: {sizes}; inputs {shape}, {found['classes']} classes")
        if "baselines" in found:
            answer("\n".join(_baseline_lines(found["baselines"])))


def _baseline_lines(accuracies: dict[str, float]) -> list[str]:
    """What rules without a network tell apart."""
    rows = [f"  {name:42} {100 * accuracy:6.2f} %" for name, accuracy in accuracies.items()]
    return ["right on the test strings without a network, learnt from all others:", *rows]


def _entry(info: "DataInfo") -> str:
    """One data set: its name and what it is, then how large it is and where it lies."""
    lines = [info.what]
    if info.examples is not None:
        train, test = info.examples
        lines.append(f"{train:,} + {test:,} examples; {_place(info)}")
    return "\n".join(f"{name:15} {line}" for name, line in zip((info.name, ""), lines, strict=False))


def _place(info: "DataInfo") -> str:
    """Where a data set lies, or where it would go."""
    if info.present:
        return f"here: {info.place}"
    if info.bytes == 0:
        return f"not here, and it has no download: its files go into {info.place}"
    size = "" if info.bytes is None else f" ({info.bytes / 1e6:.0f} MB)"
    return f"not here: it would be fetched{size} into {info.place}"


def _described(found: "Data") -> dict[str, Any]:
    """What a loaded data set holds."""
    return {
        "name": found.name,
        "input_shape": list(found.input_shape),
        "classes": found.classes,
        "split_sizes": found.split_sizes,
        "mean": list(found.normalisation.mean),
        "std": list(found.normalisation.std),
        "fingerprint": found.fingerprint,
    }
