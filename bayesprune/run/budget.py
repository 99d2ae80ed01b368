"""Budgets: a wished-for cost, as a number or as a share of the network's; one or several at once."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

from bayesprune.errors import BudgetError

if TYPE_CHECKING:
    from torch import Tensor

MACS, PARAMS, LATENCY = "macs", "params", "latency"
KINDS = (MACS, PARAMS, LATENCY)
"""What a budget can be about, in the order in which several are written."""

REVISION = 2
"""Of how budgets are met; part of the names of runs with one, so that a run met in another way is another run."""

_FORM = re.compile(r"(macs|params|latency)\s*=\s*([0-9.]+(?:e-?[0-9]+)?)\s*(%|k|m|us|ms|s)?", re.IGNORECASE)
_COUNTS = {"k": "1e3", "m": "1e6", "%": "0.01", "": "1"}
_TIMES = {"us": "1e-3", "ms": "1", "s": "1e3", "%": "0.01"}
_UNITS = {MACS: _COUNTS, PARAMS: _COUNTS, LATENCY: _TIMES}
_WRITE = (
    "write macs=150k, params=40000 or macs=10%, latency=2ms or latency=50%, above 0 and at most 100 %, several at "
    "once with a comma between them, or for each layer the share of its channels to keep: conv1=50%,fc1=10%"
)


def plain_decimal(number: Decimal) -> str:
    """A number without exponent and without zeros at its end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Budget:
    """At most so many multiply-accumulates, parameters, or milliseconds for one sample.

    Attributes:
        kind: "macs", "params" or "latency".
        amount: the number (of milliseconds for a latency), or the share of the initial network's when `relative`.
        relative: whether the amount is a share.
    """

    kind: str
    amount: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read "macs=150k", "params=5%", "macs=1.5m", "latency=2ms", "latency=500us" or "latency=50%".

        Raises:
            BudgetError: it has another form, or is not above 0 (or, as a share, above 100 %).
        """
        match = _FORM.fullmatch(text.strip())
        kind, number, unit = (str(part or "").lower() for part in match.groups()) if match else ("", "", "")
        try:
            # in decimals: 57 % are 0.57, which 57 * 0.01 is not
            amount = float(Decimal(number) * Decimal(_UNITS[kind][unit]))
        except (LookupError, ArithmeticError):
            amount, unit = 0.0, ""
        if not (isfinite(amount) and amount > 0) or (unit == "%" and amount > 1):
            raise BudgetError(f"budget {text!r}: {_WRITE}")
        return cls(kind, amount, unit == "%")

    def __str__(self) -> str:
        """The one form of this budget: "macs=150000" for "MACS = 150k", "macs=10%" for "macs=10.0 %"."""
        number = Decimal(repr(self.amount)) * (100 if self.relative else 1)
        unit = "%" if self.relative else "ms" if self.kind == LATENCY else ""
        return f"{self.kind}={plain_decimal(number)}{unit}"

    def limit(self, macs: float, params: float, latency: float = 0.0) -> float:
        """The number allowed for a network that costs so much at the start."""
        if not self.relative:
            return self.amount
        return round(self.amount * self.spent(macs, params, latency), 6)  # 0.29 * 100 is below 29

    def part(self, macs: "Tensor", params: "Tensor") -> "Tensor":
        """The part of a cost that this budget is about, as a tensor; of latency the costs say nothing."""
        return macs if self.kind == MACS else params

    def spent(self, macs: float, params: float, latency: float = 0.0) -> float:
        """The part of a cost that this budget is about."""
        return {MACS: macs, PARAMS: params, LATENCY: latency}[self.kind]

    def shown(self, number: float) -> str:
        """A number of this kind for people: "26,620" or "1.93 ms"."""
        return f"{number:.3g} ms" if self.kind == LATENCY else f"{number:,.0f}"


def parse_budgets(given: str | Sequence[str] | Mapping[str, Any]) -> tuple[Budget, ...]:
    """Read one budget or several: "macs=10%,params=5%", a list of such, or a table; at most one of each kind.

    In a table, {"macs": "10%", "params": 40000}, numbers up to 1 are shares: {"macs": 0.1} is 10 %.

    Returns:
        The budgets in the order macs, params, latency.

    Raises:
        BudgetError: one has another form, or two are of one kind.
    """
    whole = [given] if isinstance(given, str) else _listed(given) if isinstance(given, Mapping) else list(given)
    parts = [part for text in whole for part in str(text).split(",")]
    try:
        found = [Budget.parse(part) for part in parts]
    except BudgetError:
        if len(parts) == 1:
            raise
        raise BudgetError(f"budget {','.join(map(str, whole))!r}: {_WRITE}") from None
    kinds = [budget.kind for budget in found]
    if len(set(kinds)) < len(kinds) or not found:
        raise BudgetError(f"budget {','.join(map(str, whole))!r} says {kinds} and not each once: {_WRITE}")
    return tuple(sorted(found, key=lambda budget: KINDS.index(budget.kind)))


def _listed(given: Mapping[str, Any]) -> list[str]:
    """The entries of a table as text; a share becomes percent."""
    texts = []
    for kind, amount in given.items():
        with suppress(AttributeError, ValueError, RuntimeError):
            amount = float(f"{amount.item():.7g}")  # a number of NumPy or torch, to the digits that float32 has
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if number and str(kind).lower() == LATENCY:
            raise BudgetError(f"budget {dict(given)!r}: a latency has a unit, write {{'latency': '2ms'}} or '50%'")
        share = number and 0 < amount <= 1
        texts.append(f"{kind}={plain_decimal(Decimal(repr(amount)) * 100)}%" if share else f"{kind}={amount}")
    return texts


def budgets_text(given: str | Sequence[str] | Mapping[str, Any]) -> str:
    """The one form of one or several budgets: "macs=10%,params=5%"."""
    return ",".join(map(str, parse_budgets(given)))
