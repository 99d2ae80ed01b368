"""The evidence for every unit of a run for people: what can be said of a run on disk, and a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bayesprune.errors import BayespruneError
from bayesprune.experiments.report.picture_file import write_picture
from bayesprune.experiments.report.words import clean, short
from bayesprune.run.evidence import Evidence
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesprune.data import Data
    from bayesprune.run.pruned import Pruned

    WithData: TypeAlias = tuple[Pruned, Data]

NAMED, TABLED = 5, 10
"""So many of the weakest units are named in the picture, and in a document."""

EFFORT, FEWEST = 5e12, 500
"""Gates times multiply-accumulates times examples, where no number of examples is asked for, and examples at least."""


def evidence_of(
    record: RunRecord, examples: int | None = None, runs: int = 1, found: "WithData | str | None" = None
) -> Evidence | str:
    """The evidence of a run on disk, or a line that says why there is none.

    Args:
        record: of the run, read from its folder.
        examples: training examples to take it on, at most; None for as many as take no more than a minute or so.
        runs: that share this time.
        found: what `with_data` gave, where it was asked already.
    """
    found = with_data(record) if found is None else found
    if isinstance(found, str):
        return f"{found}: take pruned.evidence(data) in Python"
    pruned, data = found
    try:
        wanted = max(FEWEST, affordable(record) // runs) if examples is None else examples
        return pruned.evidence(data, examples=min(wanted, len(data.train)))
    except BayespruneError as error:
        return _line(error)


def all_with_data(records: Sequence[RunRecord]) -> "list[WithData | str]":
    """What `with_data` says of each run; data that several have are read once."""
    found: list[WithData | str] = []
    for record in records:
        known = next((one[1] for one in found if not isinstance(one, str)), None)
        found.append(with_data(record, known))
    return found


def with_data(record: RunRecord, known: "Data | None" = None) -> "WithData | str":
    """The network of a run on disk and the data it was trained on, or a line that says what is not there.

    Args:
        record: of the run, read from its folder.
        known: data that it may have been trained on.
    """
    from bayesprune.data import load as load_data
    from bayesprune.experiments.facade import load

    name = str(record.data["name"])
    if record.folder is None:
        return "the run lies in no folder"
    try:
        if known is not None and known.fingerprint == record.settings.get("data_fingerprint"):
            data = known
        else:
            data = load_data(name, task=record.task["name"], download=False)
    except (BayespruneError, KeyError) as error:
        return f"the data {name!r} cannot be loaded by name ({_line(error)})"
    if data.fingerprint != record.settings.get("data_fingerprint"):
        return f"the data {name!r} are not those that the run was trained on"
    try:
        return load(record.folder), data
    except BayespruneError as error:
        return _line(error)


def affordable(record: RunRecord) -> int:
    """Examples on which every gate that is left can be flipped with the effort that is allowed."""
    gates = sum(len(group["kept"]) for group in record.groups)
    return max(FEWEST, int(EFFORT / max(1, gates * record.result["macs"])))


def plot_evidence(evidence: Evidence, path: Path, input_shape: Sequence[int] = ()) -> Path:
    """Draw all units from the most evidence to the least, prices as lines, and input pixels as a picture.

    Args:
        evidence: of a run.
        path: of the picture: its suffix, .png or .svg, says which.
        input_shape: of one input; pictures [H, W] or [C, H, W] have one where there are gates on inputs.

    Returns:
        `path`.

    Raises:
        SettingError: another suffix.
        StoreError: the picture cannot be written.
    """
    return write_picture(lambda: _figure(evidence, _pixels(evidence, input_shape)), path)


def document(evidence: Evidence) -> dict[str, Any]:
    """What a command says of it as JSON: by group, and the weakest units."""
    groups = {name: evidence.of(name) for name in dict.fromkeys(evidence.groups)}
    return {
        "examples": evidence.examples,
        "size": evidence.size,
        "unit": evidence.unit,
        "groups": {
            name: {
                "units": len(one),
                "least": float(one.evidence.min()),
                "median": float(one.evidence.median()),
                "most": float(one.evidence.max()),
                "below_price": None if one.log_odds is None else int((one.log_odds < 0).sum()),
            }
            for name, one in groups.items()
        },
        "weakest": evidence.weakest(TABLED).to_frame().rename_axis("unit").reset_index().to_dict("records"),
    }


def _figure(evidence: Evidence, pixels: "np.ndarray[Any, Any] | None") -> "Figure":
    from matplotlib.figure import Figure

    wide = pixels is not None
    figure = Figure(figsize=(9.6 if wide else 6.4, 4.0), layout="constrained")
    places = figure.subplots(1, 2, width_ratios=(1.8, 1.0), squeeze=False)[0] if wide else [figure.add_subplot()]
    _draw_units(places[0], evidence)
    if pixels is not None:
        _draw_pixels(places[1], figure, pixels)
    least = evidence.weakest(NAMED)
    words = ", ".join(f"{name} {value:.1f}" for name, value in zip(least.names, least.evidence.tolist(), strict=True))
    figure.suptitle(f"weakest: {clean(words)} nats", fontsize=9)
    return figure


def _draw_units(axes: "Axes", evidence: Evidence) -> None:
    """All units, the most evidence first, a colour a group, with error bars; the prices of a group as a line."""
    from bayesprune.experiments.report.drawing import PRINT_INK, looks, write_counts

    order = evidence.evidence.argsort(descending=True, stable=True).numpy()
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    groups = np.array(evidence.groups)
    found = looks(list(dict.fromkeys(evidence.groups)))
    prices = None if evidence.price is None else evidence.price.numpy()
    equal = prices is not None and float(np.ptp(prices)) <= 1e-6 * float(np.abs(prices).max())
    if equal and prices is not None:
        axes.axhline(float(prices[0]), color=PRINT_INK, linewidth=1.2, label=f"price, {float(prices[0]):.3g} nats")
    for name, look in found.items():
        own = groups == name
        axes.errorbar(
            rank[own], evidence.evidence.numpy()[own], evidence.error.numpy()[own],
            fmt=look.marker, color=look.colour, markersize=3.5, elinewidth=0.6, alpha=0.9, label=short(name),
        )  # fmt: skip
        if prices is not None and not equal:
            middle = float(np.median(prices[own]))
            label = f"price of {short(name)}, median {middle:.3g}"
            axes.axhline(middle, color=look.colour, linestyle=look.dash, linewidth=1.2, label=label)
    axes.set_yscale("symlog", linthresh=1.0)
    write_counts(axes.yaxis)
    axes.set(xlabel="units, the most evidence first", ylabel="evidence in nats, with its error")
    axes.set_title(evidence.taken_on)
    axes.legend()


def _draw_pixels(axes: "Axes", figure: "Figure", pixels: "np.ndarray[Any, Any]") -> None:
    """The evidence of input pixels where they lie; those that were removed stay white."""
    from matplotlib.colors import SymLogNorm

    from bayesprune.experiments.report.drawing import write_counts

    most = max(float(np.nanmax(np.abs(pixels))), 1.0)
    shown = axes.imshow(pixels, cmap="RdBu", norm=SymLogNorm(1.0, vmin=-most, vmax=most), interpolation="nearest")
    axes.set(xticks=[], yticks=[], title="input pixels, nats")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.8)
    write_counts(figure.colorbar(shown, ax=axes, shrink=0.7).ax.yaxis)


def _pixels(evidence: Evidence, shape: Sequence[int]) -> "np.ndarray[Any, Any] | None":
    """Evidence [H, W] of input pixels, summed over colours, NaN where none is left; None where inputs are no pictures.

    Inputs may also be gated by channel, which is no picture.
    """
    if "inputs" not in evidence.groups or len(shape) not in (2, 3) or min(shape[-2:]) < 2:
        return None
    one, size = evidence.of("inputs"), int(np.prod(shape))
    places = one.indices.numpy()
    if places.max() >= size or (len(shape) == 3 and size > shape[0] and places.max() < shape[0]):
        return None
    flat = np.full(size, np.nan)
    flat[places] = one.evidence.numpy()
    layers = flat.reshape(-1, *shape[-2:])
    summed: np.ndarray[Any, Any] = np.where(np.isnan(layers).all(0), np.nan, np.nansum(layers, axis=0))
    return summed


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
