"""How sure the data are of each unit that is left: what closing it alone costs of the log-likelihood, in nats."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bayesprune.errors import SettingError

if TYPE_CHECKING:
    import pandas

UNIT = "nats"

LARGE = 1e4
"""Numbers from this one on are written without decimals."""


@dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """What every unit, filter and input that is left is worth; J of them, group after group.

    The log posterior odds of a gate, open against closed, given all others and the weights, are its evidence minus its
    price. They are no probability that the unit is needed by another network.

    Attributes:
        groups: the group [J] that each belongs to.
        indices: its original index [J] in that group.
        evidence: N times the rise of the mean negative log-likelihood when it alone is closed, nats [J] in float64.
        error: standard error [J] of that: how much other examples of the same kind would change it, by the paired
            differences of the examples. On all training examples the evidence itself is exact.
        price: nats [J] that its closing saves; None where there is no price: for deterministic methods, where prices
            only served to meet a budget, and in runs of earlier versions.
        needed: units [J] (bool) without which a layer would pass nothing: their odds are infinite.
        examples: on which gates were flipped.
        size: training examples N.
        replayed: whether flips were run from the gated layer on; else by whole passes, which take longer.
    """

    groups: tuple[str, ...]
    indices: Tensor
    evidence: Tensor
    error: Tensor
    price: Tensor | None
    needed: Tensor
    examples: int
    size: int
    replayed: bool = True

    unit = UNIT

    @property
    def names(self) -> list[str]:
        """The gates as they are called elsewhere: `fc1[12]`."""
        return [f"{group}[{index}]" for group, index in zip(self.groups, self.indices.tolist(), strict=True)]

    @property
    def taken_on(self) -> str:
        """On which examples, in words."""
        if self.examples > self.size:
            return f"{self.examples:,} examples for {self.size:,} training examples"
        return f"{self.examples:,} of {self.size:,} training examples"

    @property
    def log_odds(self) -> Tensor | None:
        """Evidence minus price, nats [J]; infinite where a layer would pass nothing. None without prices."""
        return None if self.price is None else (self.evidence - self.price).masked_fill(self.needed, torch.inf)

    def __len__(self) -> int:
        return len(self.groups)

    def __repr__(self) -> str:
        return self.table()

    def weakest(self, count: int = 10) -> "Evidence":
        """So many units with the least log odds, or the least evidence where there are no prices, least first.

        Units without which a layer passes nothing come last.

        Raises:
            SettingError: `count` is no integer >= 1.
        """
        from bayesprune.run.settings import check_integer

        check_integer("count", count, 1)
        value = self.evidence if self.log_odds is None else self.log_odds
        return self._chosen(value.masked_fill(self.needed, torch.inf).argsort(stable=True)[:count])

    def of(self, group: str) -> "Evidence":
        """That of one group.

        Raises:
            SettingError: there is none of this name.
        """
        if group not in self.groups:
            raise SettingError(f"group {group!r} has no units: there are {', '.join(dict.fromkeys(self.groups))}")
        return self._chosen(torch.tensor([name == group for name in self.groups]).nonzero().flatten())

    def table(self) -> str:
        """A row a group, and the weakest units, as text."""
        head = f"evidence in {UNIT}, {self.taken_on}; the least first"
        below = [] if self.price is None else ["below price"]
        titles = ["group", "units", "least", "median", "most", *below, "weakest"]
        rows = [titles, *(_row(self.of(group)) for group in dict.fromkeys(self.groups))]
        note = [] if below else ["no prices: the evidence stands alone"]
        return "\n".join([head, *_aligned(rows), *note])

    def to_frame(self) -> "pandas.DataFrame":
        """A pandas table with a row a unit, its columns in nats; price and log odds are NaN where there is no price."""
        import pandas

        nothing = torch.full_like(self.evidence, torch.nan)
        odds = self.log_odds
        return pandas.DataFrame(
            {
                "group": list(self.groups),
                "index": self.indices.tolist(),
                "evidence": self.evidence.tolist(),
                "error": self.error.tolist(),
                "price": (nothing if self.price is None else self.price).tolist(),
                "log_odds": (nothing if odds is None else odds).tolist(),
            },
            index=self.names,
        )

    def _chosen(self, places: Tensor) -> "Evidence":
        """That of some units."""
        return Evidence(
            tuple(self.groups[place] for place in places.tolist()),
            self.indices[places],
            self.evidence[places],
            self.error[places],
            None if self.price is None else self.price[places],
            self.needed[places],
            self.examples,
            self.size,
            self.replayed,
        )


def _row(one: Evidence) -> list[str]:
    """The row of a group."""
    found = [one.evidence.min(), one.evidence.median(), one.evidence.max()]
    below = [] if one.log_odds is None else [f"{int((one.log_odds < 0).sum()):,}"]
    least = one.weakest(min(3, len(one)))
    weakest = ", ".join(
        f"{name} {_nats(value)} +- {_nats(error)}"
        for name, value, error in zip(least.names, least.evidence.tolist(), least.error.tolist(), strict=True)
    )
    return [one.groups[0], f"{len(one):,}", *(_nats(float(value)) for value in found), *below, weakest]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Rows of cells with the first and the last column to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numbers = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)][1:-1] for row in rows]
    return ["  ".join([row[0].ljust(widths[0]), *cells, row[-1]]) for row, cells in zip(rows, numbers, strict=True)]


def _nats(value: float) -> str:
    """A number of nats for people."""
    return f"{value:,.0f}" if abs(value) >= LARGE else f"{value:,.1f}"


class Moments:
    """Mean and standard error of J paired differences, batch after batch (Chan, Golub and LeVeque, 1983).

    Args:
        gates: J.
    """

    def __init__(self, gates: int) -> None:
        self.count = torch.zeros(gates, dtype=torch.float64)
        self.mean = torch.zeros(gates, dtype=torch.float64)
        self._squares = torch.zeros(gates, dtype=torch.float64)

    def add(self, gates: list[int], differences: Tensor) -> None:
        """Take in differences [K, B] of K gates."""
        new, mean = differences.shape[1], differences.mean(1)
        squares, count = (differences - mean[:, None]).square().sum(1), self.count[gates] + new
        step = mean - self.mean[gates]
        self._squares[gates] += squares + step.square() * self.count[gates] * new / count
        self.mean[gates] += step * new / count
        self.count[gates] = count

    def error(self) -> Tensor:
        """Standard errors of the means."""
        return (self._squares / (self.count - 1).clamp_min(1) / self.count.clamp_min(1)).sqrt()


def check_nats(price: Any) -> None:
    """Refuse a price of gates that is no finite number of nats >= 0; None passes.

    Raises:
        SettingError: names what was given.
    """
    if price is None:
        return
    is_number = isinstance(price, int | float) and not isinstance(price, bool)
    if not (is_number and 0 <= price < float("inf")):
        raise SettingError(f"price must be a finite number of nats >= 0 for every gate, not {price!r:.60}")


def measure(
    pruned: Any, data: Any = None, *, examples: int | None = None, seed: int = 0, price: float | None = None
) -> Evidence:
    """The evidence for every unit of a pruned network that is left, by exact flips; see `Pruned.evidence`.

    With batch normalisation in evaluation mode, and the network's weights as they are.

    Args:
        pruned: the result of a run.
        data: `Data` or their name, whose training split is used, or raw examples; None for those of the run.
        examples: so many of them, at least 2, drawn without replacement; None for all.
        seed: of the draw.
        price: nats of every unit, to set the evidence against; None for those of the run.

    Raises:
        SettingError: nothing can be removed, there is no likelihood, there are not so many examples, or the price is
            no number >= 0.
        StoreError: a loaded network without data.
        DataError: the data are none, or do not fit the run.
    """
    from bayesprune.run.flipping import Flipping

    check_nats(price)
    flipping = Flipping.of(pruned, data, examples, seed)
    moments = Moments(flipping.gates)
    for gates, differences in flipping.rises():
        moments.add(gates, differences)
    structure, size = pruned.structure, flipping.size
    return Evidence(
        groups=tuple(group.name for group in structure.groups for _ in range(len(group.kept))),
        indices=torch.cat([group.kept for group in structure.groups]),
        evidence=size * moments.mean,
        error=size * moments.error(),
        price=price_of(pruned) if price is None else torch.full((flipping.gates,), float(price)).double(),
        needed=torch.tensor([not structure.passes_on(row) for row in _closed(flipping.gates)]),
        examples=flipping.examples,
        size=size,
        replayed=flipping.replayed,
    )


def price_of(pruned: Any) -> Tensor | None:
    """The price [J] of every gate that is left, nats in float64; None where there is none."""
    posterior = pruned.posterior
    if posterior is None or posterior.price is None:
        return None
    price: Tensor = posterior.price.double()[pruned.structure.original_gates()]
    return price


def _closed(gates: int) -> Iterator[Tensor]:
    """All gates open but one, bool [J]."""
    for gate in range(gates):
        row = torch.ones(gates, dtype=torch.bool)
        row[gate] = False
        yield row
