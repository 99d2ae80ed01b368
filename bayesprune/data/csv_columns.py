"""The columns of a CSV file: numbers, true/false or categories, and the columns that nobody can learn from."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayesprune.errors import DataError

if TYPE_CHECKING:
    import pandas

MISSING = ("", "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "?")
"""Cells that count as empty."""
MOST_CATEGORIES = 100
_LARGEST_WHOLE = 2**53  # beyond it float64 no longer tells neighbours apart
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_WHOLE = r"[+-]?[0-9]+"
_PLAIN = rf"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+){_EXPONENT}"
_WITH_COMMA = rf"[+-]?[0-9.]*,[0-9.,]*[0-9]{_EXPONENT}"
_DECIMAL_COMMA = rf"[+-]?[0-9]*,[0-9]+{_EXPONENT}"
_THOUSANDS = r"[+-]?[1-9][0-9]{0,2},[0-9]{3}"  # 1,234 is 1234 to some and 1.234 to others
_DATE = (
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}(?:[T ].*)?"
    r"|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{4}|[0-9]{2})(?: .*)?"
    r"|[0-9]{1,2}[- ][A-Za-z]{3,9}[- ][0-9]{2,4}"
    r"|[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)"
)


@dataclass(frozen=True, eq=False)
class Column:
    """One column.

    Attributes:
        name: as in the header.
        values: [N] float64, int64 or bool; int64 codes 0 .. K - 1 for categories.
        categories: the K different texts in sorted order; None for numbers and true/false.
        comma: whether its numbers were written with a decimal comma.
    """

    name: str
    values: npt.NDArray[Any]
    categories: tuple[str, ...] | None = None
    comma: bool = False

    def encode(self) -> tuple[list[str], npt.NDArray[np.float64]]:
        """Names and values [N, K] of the features it becomes: one for numbers, one a category otherwise."""
        if self.categories is None:
            return [self.name], self.values.astype(np.float64)[:, None]
        one_hot = self.values[:, None] == np.arange(len(self.categories))
        return [f"{self.name}={category}" for category in self.categories], one_hot.astype(np.float64)

    def could_hold(self, cell: str) -> bool:
        """Whether a cell looks like the others of the column."""
        if self.categories is not None:
            return cell in self.categories
        if self.values.dtype == np.bool_:
            return cell.lower() in ("true", "false")
        return re.fullmatch(f"{_PLAIN}|{_DECIMAL_COMMA}", cell) is not None


def to_column(name: str, cells: "pandas.Series[Any]", separator: str, path: str) -> Column:
    """Check one column and tell what it holds.

    Args:
        name: as in the header.
        cells: [N] as pandas read them, NaN where a cell is empty.
        separator: between the cells of a row.
        path: of the file, for messages.

    Raises:
        DataError: missing or infinite values, dates, a mixture of numbers and text, numbers that can be read in two
            ways, identifiers.
    """
    where = f"column {name!r} of {path}"
    if cells.dtype.kind not in "biuf":
        text = cells.astype(str).str.strip()  # also NaN becomes text here, and "nan" counts as missing
        _refuse_missing(text.isin(MISSING) | cells.isna(), where)
        return _from_text(name, text, separator, where)
    _refuse_missing(cells.isna(), where)
    if cells.dtype.kind == "b":
        return Column(name, cells.to_numpy(np.bool_))
    return Column(name, _check_numbers(cells.to_numpy(), where))


def _row_of(wrong: "pandas.Series[bool]") -> int:
    """The first row that is marked, counted from 1 below the header; blank lines do not count."""
    return int(wrong.to_numpy().argmax()) + 1


def _refuse_missing(missing: "pandas.Series[bool]", where: str) -> None:
    if missing.any():
        raise DataError(
            f"{where} has no value in {int(missing.sum()):,} of {len(missing):,} rows, the first is row "
            f"{_row_of(missing)}: fill the cells in, or remove those rows or the column (NA, null, ? count as empty)"
        )


def _check_numbers(values: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    """Finite float64 or int64, whole numbers not so large that neighbours fall together."""
    if values.dtype.kind == "f":
        if not (finite := np.isfinite(values)).all():
            raise DataError(
                f"{where} has infinite values in {int((~finite).sum()):,} of {len(values):,} rows, the first is row "
                f"{int(finite.argmin()) + 1}: write finite numbers below 1.8e308, or remove those rows"
            )
        return values.astype(np.float64)
    _refuse_identifiers((values > _LARGEST_WHOLE) | (values < -_LARGEST_WHOLE), where)
    return values.astype(np.int64)


def _refuse_identifiers(large: npt.NDArray[np.bool_], where: str) -> None:
    if large.any():
        raise DataError(
            f"{where} has whole numbers beyond 2^53, the first in row {int(large.argmax()) + 1}: it looks like an "
            "identifier; drop it, or write the numbers in a larger unit"
        )


def _from_text(name: str, text: "pandas.Series[str]", separator: str, where: str) -> Column:
    """Categories, or numbers that pandas took for text."""
    plain, comma = text.str.fullmatch(_PLAIN), text.str.fullmatch(_WITH_COMMA)
    wrong = ~(plain | comma)
    if not wrong.any():
        if comma.any():
            return Column(name, _read_commas(text, comma, separator, where), comma=True)
        return Column(name, _read_numbers(text, where))
    if 10 * int(wrong.sum()) <= len(wrong):
        row = _row_of(wrong)
        raise DataError(
            f"{where} holds numbers in all but {int(wrong.sum()):,} of {len(wrong):,} rows, the first is row {row} "
            f"with {_shown(text, row)}: write a number there, or remove those rows or the column"
        )
    if text.str.fullmatch(_DATE).all():
        raise DataError(
            f"{where} holds dates or times such as {_shown(text, 1)}: drop it, or replace it by numbers "
            "(year, month, days since a first day)"
        )
    return _categories(name, text, where)


def _shown(text: "pandas.Series[str]", row: int) -> str:
    cell = text.iloc[row - 1]
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


def _read_numbers(text: "pandas.Series[str]", where: str) -> npt.NDArray[Any]:
    """Numbers that pandas keeps as text because no type of integer holds them all."""
    values = text.to_numpy(object).astype(np.float64)
    if text.str.fullmatch(_WHOLE).all():
        _refuse_identifiers(np.abs(values) >= _LARGEST_WHOLE, where)
        return values.astype(np.int64)
    return _check_numbers(values, where)


def _read_commas(
    text: "pandas.Series[str]", comma: "pandas.Series[bool]", separator: str, where: str
) -> npt.NDArray[np.float64]:
    """Decimal commas as float64, where no other reading is possible.

    Raises:
        DataError: the comma separates cells, or it may stand for thousands.
    """
    decimal = text.str.fullmatch(_DECIMAL_COMMA)
    certain = decimal & ~text.str.fullmatch(_THOUSANDS)
    rest = text.str.fullmatch(_WHOLE + _EXPONENT)
    if separator == "," or not ((decimal | rest).all() and certain.any()):
        raise DataError(
            f"{where} has numbers with commas, the first in row {_row_of(comma)}: {_shown(text, _row_of(comma))}; "
            "write a point for decimals and nothing between thousands"
        )
    points = text.str.replace(",", ".", regex=False).to_numpy(object)
    return np.asarray(_check_numbers(points.astype(np.float64), where))


def _categories(name: str, text: "pandas.Series[str]", where: str) -> Column:
    count = int(text.nunique())
    if count > MOST_CATEGORIES:
        raise DataError(
            f"{where} holds {count:,} different texts such as {_shown(text, 1)}, and at most {MOST_CATEGORIES} are "
            "taken as categories: it looks like an identifier or free text; drop it, or encode it as numbers"
        )
    names = sorted(set(text))
    codes = text.map({category: code for code, category in enumerate(names)}).to_numpy(np.int64)
    return Column(name, codes, tuple(names))
