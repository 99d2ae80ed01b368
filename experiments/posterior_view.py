"""The posterior over structure for people: ArviZ's summary of it, and a picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesprune.experiments.agreement import INPUTS, agreement_table, sizes_table
from bayesprune.experiments.gates import gate_counts
from bayesprune.experiments.report.picture_file import write_picture
from bayesprune.experiments.report.words import short
from bayesprune.experiments.words import counted
from bayesprune.run.arviz_view import summary
from bayesprune.run.tree.chains import NOTE
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.figure import Figure

MOST_GATES = 20
"""So many gates at most are summarised one by one."""
_LEGEND = (
    "open: the channel stays. closed_by_price: closed during training, worth less than its price. closed_at_end: "
    "closed when pruning ended, worth less than their price then. cut_for_budget: closed to meet the budget."
)
_HIDDEN = (
    "Hidden units are listed for a single run only: restarts number theirs independently, so a mean or an R-hat of "
    "unit 3 over restarts would say nothing."
)
_TABLES = ("groups", "open_gates", "sizes", "agreement", "uncertain_gates")
_MANY = 1e6


@dataclass(frozen=True)
class PosteriorSummary:
    """What there is to say of a posterior over structure.

    Attributes:
        groups: a row a group: `gates`; how many of them stay `open` and why the others were closed,
            `closed_by_price`, `closed_at_end` or `cut_for_budget` (runs of older versions do not say); how many
            were `undecided` when pruning ended; their `mean_inclusion_probability` then. Means over restarts.
        open_gates: ArviZ's summary of the number of open gates of each group.
        uncertain_gates: ArviZ's summary of the least certain gates, at most 20: those with the inclusion
            probability (mean over restarts) nearest to 1/2; empty where every gate is certain.
        uncertain: how many gates are not certain.
        restarts: number of chains.
        note: what R-hat and effective sample sizes mean here.
    """

    groups: "pandas.DataFrame"
    open_gates: "pandas.DataFrame"
    sizes: "pandas.DataFrame"
    agreement: "pandas.DataFrame"
    uncertain_gates: "pandas.DataFrame"
    uncertain: int
    restarts: int
    note: str = NOTE

    def text(self) -> str:
        """The summary as plain text for a terminal."""
        shown = len(self.uncertain_gates)
        parts = ["Groups of gates", _shown(self.groups)]
        if "closed_by_price" in self.groups:
            parts.append(_LEGEND)
        parts += ["Open gates (ArviZ)", _shown(self.open_gates)]
        if self.restarts > 1:
            parts += ["Channels left in the end", _shown(self.sizes)]
        if len(self.agreement):
            parts += ["Input features kept by several restarts", _shown(self.agreement)]
        if shown:
            which = "All" if shown == self.uncertain else f"The {shown} nearest to 1/2 of"
            parts += [
                f"{which} {counted(self.uncertain, 'uncertain gate')} (ArviZ)",
                _shown(self.uncertain_gates),
            ]
        else:
            which = "gate" if self.restarts == 1 else "input feature"
            parts += [f"Every {which} is certain: no inclusion probability lies between 0 and 1."]
        notes = [self.note, _HIDDEN] if self.restarts > 1 else [self.note]
        return "\n\n".join([*parts, *notes])

    def __str__(self) -> str:
        return self.text()

    def document(self) -> dict[str, Any]:
        """The summary as plain JSON; numbers that are not finite become null."""
        tables = {name: getattr(self, name) for name in _TABLES}
        return {name: _records(table) for name, table in tables.items()} | {
            "uncertain": self.uncertain,
            "restarts": self.restarts,
            "note": self.note,
        }


def summarise(records: Sequence[RunRecord], draws: int = 1000, seed: int = 0) -> PosteriorSummary:
    """Summarise the posterior of one run, or of several restarts of it.

    Args:
        records: as in `to_datatree`.
        draws: draws a chain, at least 4, which ArviZ needs.
        seed: of the draws.

    Raises:
        SettingError: as in `to_datatree`, or there are too few draws.
    """
    from bayesprune.run.datatree import to_datatree

    tree = to_datatree(records, draws, seed)
    found = _of_gates(tree)
    mean = found["inclusion_probability"].mean("chain").to_numpy().astype(float)
    doubt = mean * (1.0 - mean)
    if len(records) > 1:
        doubt = np.where(found["group_of_gate"].to_numpy() == INPUTS, doubt, 0.0)
    chosen = np.sort(np.argsort(-doubt, kind="stable")[: min(MOST_GATES, int((doubt > 0.0).sum()))])
    return PosteriorSummary(
        groups=_groups(found, records),
        open_gates=summary(tree, "open_gates"),
        sizes=sizes_table(records),
        agreement=agreement_table(records),
        uncertain_gates=summary(tree, "z", found["gate"].to_numpy()[chosen].tolist()),
        uncertain=int((doubt > 0.0).sum()),
        restarts=len(records),
    )


def plot_posterior(records: Sequence[RunRecord], path: Path) -> Path:
    """Draw the inclusion probabilities of every group over training, and when pruning ended.

    Args:
        records: as in `to_datatree`; the gates of all restarts are drawn together.
        path: of the picture: its suffix, .png or .svg, says which.

    Returns:
        `path`.

    Raises:
        SettingError: another suffix, or as in `to_datatree`.
        StoreError: the picture cannot be written.
    """
    from bayesprune.run.datatree import to_datatree

    return write_picture(lambda: _figure(_of_gates(to_datatree(records, draws=1, trace=True))), path)


def _of_gates(tree: "xarray.DataTree") -> "xarray.Dataset":
    """What is known of every gate without drawing."""
    return tree["sample_stats"].to_dataset().merge(tree["constant_data"].to_dataset())


def _groups(found: "xarray.Dataset", records: Sequence[RunRecord]) -> "pandas.DataFrame":
    """One row a group of channels."""
    import pandas

    rows = {}
    for name in found["group"].to_numpy().tolist():
        part = found.isel(gate=np.flatnonzero(found["group_of_gate"].to_numpy() == name))
        theta, decided = part["inclusion_probability"].to_numpy(), part["decided"].to_numpy()
        rows[name] = {
            "gates": theta.shape[1],
            "open": decided.sum(1).mean(),
            **_closed(name, records),
            "undecided": ((theta > 0.0) & (theta < 1.0)).sum(1).mean(),
            "mean_inclusion_probability": float(theta.mean(dtype=np.float64)),
        }
    return pandas.DataFrame.from_dict(rows, orient="index").astype({"gates": int})


def _closed(group: str, records: Sequence[RunRecord]) -> dict[str, float]:
    """Why the gates of a group were closed, means over restarts; nothing where a run does not say."""
    counts = [found[group] for run in records if (found := gate_counts(run)) is not None]
    if len(counts) < len(records):
        return {}
    names = ("closed_by_price", "closed_at_end", "cut_for_budget")
    return {name: sum(getattr(one, name) for one in counts) / len(counts) for name in names}


def _figure(found: "xarray.Dataset") -> "Figure":
    """A row a group: a histogram of every epoch on the left, the last one on the right."""
    from matplotlib.figure import Figure

    from bayesprune.experiments.report.drawing import ACCENT, write_counts
    from bayesprune.experiments.report.structure_plots import draw_inclusion

    names = found["group"].to_numpy().tolist()
    figure = Figure(figsize=(8.4, 2.3 * len(names) + 0.6), layout="constrained")
    restarts = found.sizes["chain"]
    together = f" ({restarts} restarts together)" if restarts > 1 else ""
    figure.suptitle(
        f"The stronger the blue, the more gates have that probability. Orange: share of the gates not closed{together}",
        fontsize=9,
    )
    for (left, right), name in zip(figure.subplots(len(names), 2, squeeze=False), names, strict=True):
        part = found.isel(gate=np.flatnonzero(found["group_of_gate"].to_numpy() == name))
        trace = part["trace"].transpose("step", "chain", "gate").to_numpy().astype(float)
        if len(trace):
            draw_inclusion(left, part["step"].to_numpy().astype(float), trace.reshape(len(trace), -1))
        left.set(
            title=f"{short(name)}: {counted(part.sizes['gate'], 'gate')}",
            xlabel="optimizer step",
            ylabel="inclusion probability",
        )
        right.hist(
            part["inclusion_probability"].to_numpy().ravel(),
            bins=20,
            range=(0.0, 1.0),
            log=True,
            color=ACCENT,
        )
        right.set(title="when pruning ended", xlabel="inclusion probability", ylabel="gates")
        right.set_ylim(bottom=0.7)
        write_counts(right.yaxis)
    return figure


def _shown(table: "pandas.DataFrame") -> str:
    """A table as text: whole and large numbers without decimals, others with three; powers of ten from a million on.

    What is not defined, as the R-hat of a gate that never changes, is "-".
    """

    def short_number(value: float) -> str:
        if _MANY <= abs(value) < math.inf:
            return f"{value:.2g}"
        return f"{value:.0f}" if value.is_integer() or 100.0 <= abs(value) < math.inf else f"{value:.3f}"

    return table.to_string(float_format=short_number, na_rep="-")


def _records(table: "pandas.DataFrame") -> dict[str, dict[str, Any]]:
    """A table as plain JSON: row by row, column by column."""
    return {
        str(row): {str(column): _plain(value) for column, value in cells.items()}
        for row, cells in table.to_dict(orient="index").items()
    }


def _plain(value: Any) -> int | float | None:
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if isinstance(value, int | np.integer) else number
