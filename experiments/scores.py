"""The metrics of a run's task, as its result has them, and how values and differences of them are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesprune.store.runs import RunRecord

LEAST_POINTS = 5e-4
"""Percentage points that are shown as 0."""

_RIGHT_AT_A_VALUE = ("coverage",)
"""Metrics of which neither more nor less is better; their meaning says which value is right."""
_OWN_UNIT = "unit of the targets"
_LEAST, _MOST = 1e-4, 1e6
"""Numbers below or from there on are written with a power of ten."""


@dataclass(frozen=True)
class Score:
    """One metric of a task.

    Attributes:
        key: in a result's `metrics`.
        label: in tables and sentences.
        meaning: one phrase.
        unit: "%" for shares in [0, 1], "nats", ...; "" for none.
        higher_is_better: its direction.
    """

    key: str
    label: str
    meaning: str = ""
    unit: str = ""
    higher_is_better: bool = True

    def of(self, run: "RunRecord") -> float | None:
        """The value of a run; None where it has none."""
        value = run.result["metrics"].get(self.key, {}).get("value")
        return None if value is None else float(value)

    def goodness(self, value: float) -> float:
        """The value where higher is better, else its negative."""
        return value if self.higher_is_better else -value

    @property
    def is_share(self) -> bool:
        """Whether values are shares, shown in percent."""
        return self.unit == "%"

    @property
    def counts_examples(self) -> bool:
        """Whether a value is the share of the test examples that get the right answer."""
        return self.is_share and self.key == "accuracy"

    @property
    def heading(self) -> str:
        """Of a column: with the percent sign."""
        return f"{self.label} %" if self.is_share else self.label

    @property
    def direction(self) -> str:
        """Which values are better; empty where one is right."""
        if self.key in _RIGHT_AT_A_VALUE:
            return ""
        return f"{'higher' if self.higher_is_better else 'lower'} is better"

    @property
    def explained(self) -> str:
        """Meaning, unit and direction."""
        units = {"": "", "%": "", _OWN_UNIT: f", in the {_OWN_UNIT}"}
        unit = units.get(self.unit, f", in {self.unit}")
        return "; ".join(filter(None, [f"{self.meaning or self.label}{unit}", self.direction]))

    @property
    def note(self) -> str:
        """What a sentence must say beside a number: the unit of the targets, and that lower is better."""
        own = self.unit if self.unit == _OWN_UNIT else ""
        return ", ".join(filter(None, [own, "" if self.higher_is_better else self.direction]))

    def show(self, value: float) -> str:
        """A value with its unit: 93.5 %, 53.2, 1.20 nats."""
        number = f"{100.0 * value:.1f}" if self.is_share else _digits([value], 3)[0]
        return number if self.unit == _OWN_UNIT else f"{number} {self.unit}".rstrip()

    def with_unit(self, said: str) -> str:
        """Words that end in a value, with the unit, and the direction where lower is better."""
        with_unit = said if self.unit == _OWN_UNIT else f"{said} {self.unit}".rstrip()
        return f"{with_unit} ({self.note})" if self.note else with_unit

    def amounts(self, *differences: float) -> list[str]:
        """Differences with as many decimals as show which of them are not 0; those of shares in percentage points."""
        return _points(differences) if self.is_share else _digits(differences, 2)

    def amount(self, shown: str) -> str:
        """A difference that `amounts` wrote: 1.3 points, 0.2 nats, 4.1."""
        unit = "points" if self.is_share else "" if self.unit == _OWN_UNIT else self.unit
        return f"{shown} {unit}".rstrip()

    def amount_of(self, shown: str) -> str:
        """The same with the metric: 1.3 points of accuracy, 0.2 nats of NLL, 4.1 RMSE."""
        with_unit = self.amount(shown)
        return f"{with_unit} {self.label}" if with_unit == shown else f"{with_unit} of {self.label}"


ACCURACY = Score("accuracy", "accuracy", "share of right answers", "%")


def scores_of(runs: "Sequence[RunRecord]") -> list[Score]:
    """The metrics of the runs' tasks, in the order of first appearance; the first of a run is its most important."""
    found: dict[str, Score] = {}
    for run in runs:
        for key, entry in run.result["metrics"].items():
            if key not in found:
                found[key] = _read(key, entry)
    return list(found.values())


def score_of(run: "RunRecord") -> Score:
    """The metric by which runs of its task are compared first."""
    key, entry = next(iter(run.result["metrics"].items()))
    return _read(key, entry)


def _read(key: str, entry: Mapping[str, Any]) -> Score:
    said = {name: str(entry.get(name) or "") for name in ("label", "meaning", "unit", "better")}
    return Score(key, said["label"] or key, said["meaning"], said["unit"], said["better"] != "lower")


def _points(shares: Sequence[float]) -> list[str]:
    """Shares as percentage points, with as many decimals (1 to 3) as show that none of them is 0."""
    points = [100.0 * share for share in shares]
    for decimals in (1, 2, 3):
        if all(round(value, decimals) != 0.0 for value in points if abs(value) >= LEAST_POINTS):
            break
    return _fixed(points, decimals)


def _digits(values: Sequence[float], digits: int) -> list[str]:
    """Numbers with so many significant digits of the largest, and up to two more so that none of them is 0."""
    largest = max(map(abs, values))
    if largest and not _LEAST <= largest < _MOST:
        return [f"{value + 0.0:.{digits}g}" for value in values]
    least = max(0, digits - 1 - floor(log10(largest))) if largest else 0
    for decimals in range(least, least + 3):
        if all(round(value, decimals) != 0.0 for value in values if value):
            break
    return _fixed(values, decimals)


def _fixed(values: Sequence[float], decimals: int) -> list[str]:
    """With fixed decimals; adding 0 turns the -0.0 of a rounded small number into 0.0."""
    return [f"{round(value, decimals) + 0.0:,.{decimals}f}" for value in values]
