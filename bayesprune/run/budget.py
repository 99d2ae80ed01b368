"""Budgets: a wished-for cost, as a number or as a share of the network's."""

import re
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING

from bayesprune.errors import BudgetError

if TYPE_CHECKING:
    from torch import Tensor

_FORM = re.compile(r"(macs|params)\s*=\s*([0-9.]+(?:e[0-9]+)?)\s*(%|k|m)?", re.IGNORECASE)
_FACTORS = {"k": "1e3", "m": "1e6", "%": "0.01", "": "1"}


def plain_decimal(number: Decimal) -> str:
    """A number without exponent and without zeros at its end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Budget:
    """At most so many multiply-accumulates or parameters.

    Attributes:
        kind: "macs" or "params".
        amount: the number, or the share of the initial network when `relative`.
        relative: whether the amount is a share.
    """

    kind: str
    amount: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read "macs=150k", "params=5%" or "macs=1.5m".

        Raises:
            BudgetError: it has another form, or is not above 0 (or, as a share, above 100 %).
        """
        match = _FORM.fullmatch(text.strip())
        try:
            kind, number, unit = match.groups() if match else ("", "", None)
            # in decimals: 57 % are 0.57, which 57 * 0.01 is not
            amount = float(Decimal(number) * Decimal(_FACTORS[(unit or "").lower()]))
        except (ValueError, ArithmeticError):
            amount, kind, unit = 0.0, "", None
        relative = unit == "%"
        if not (isfinite(amount) and amount > 0) or (relative and amount > 1):
            raise BudgetError(
                f"budget {text!r}: write macs=150k, params=40000 or macs=10%, above 0 and at most 100 %, "
                "or for each layer the share of its channels to keep: conv1=50%,fc1=10%"
            )
        return cls(kind.lower(), amount, relative)

    def __str__(self) -> str:
        """The one form of this budget: "macs=150000" for "MACS = 150k", "macs=10%" for "macs=10.0 %"."""
        number = Decimal(repr(self.amount)) * (100 if self.relative else 1)
        return f"{self.kind}={plain_decimal(number)}{'%' if self.relative else ''}"

    def limit(self, macs: int, params: int) -> float:
        """The number allowed for a network that costs so much at the start."""
        whole = macs if self.kind == "macs" else params
        return round(self.amount * whole, 6) if self.relative else self.amount  # 0.29 * 100 is below 29

    def part(self, macs: "Tensor", params: "Tensor") -> "Tensor":
        """The part of a cost that this budget is about, as a tensor."""
        return macs if self.kind == "macs" else params

    def spent(self, macs: float, params: float) -> float:
        """The part of a cost that this budget is about."""
        return macs if self.kind == "macs" else params
