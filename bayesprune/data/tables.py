"""The tables that come with scikit-learn, each with one fixed split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayesprune.data.csv_table import Table
from bayesprune.data.partition import split_off
from bayesprune.errors import DataError, UnknownNameError

_SPLIT_SEED = 5000  # never changes: everybody's tables have the same three splits


@dataclass(frozen=True)
class TableInfo:
    """What is known of a table without reading it.

    Attributes:
        what: what it is, in a few words.
        examples: number of examples in all three splits.
        task: "regression" or "classification".
    """

    what: str
    examples: int
    task: str


@dataclass(frozen=True)
class _Entry:
    """A table's function in sklearn.datasets, its arguments, and what its target is called."""

    function: str
    target: str
    arguments: Mapping[str, bool]


TABLES: dict[str, TableInfo] = {
    "diabetes": TableInfo("progress of diabetes in 442 patients, 10 features, a number", 442, "regression"),
    "breast-cancer": TableInfo("569 tumours, 30 features, 2 classes: malignant or benign", 569, "classification"),
    "wine": TableInfo("178 wines, 13 features, 3 classes: the growers", 178, "classification"),
}
_ENTRIES = {
    # Unscaled: scikit-learn's scaled features were divided by a deviation that includes the test split.
    "diabetes": _Entry("load_diabetes", "progression", {"scaled": False}),
    "breast-cancer": _Entry("load_breast_cancer", "diagnosis", {}),
    "wine": _Entry("load_wine", "grower", {}),
}


def read_table(name: str) -> Table:
    """Read a table that comes with scikit-learn; classes have the numbers that scikit-learn gives them.

    Args:
        name: one of `TABLES`.

    Raises:
        UnknownNameError: no such table.
        DataError: scikit-learn cannot be imported, or its file is damaged.
    """
    if name not in TABLES:
        raise UnknownNameError("table", name, TABLES)
    entry = _ENTRIES[name]
    content = _load(name, entry)
    classes = None
    targets = np.asarray(content["target"], dtype=np.float64)
    if TABLES[name].task == "classification":
        classes = tuple(str(one) for one in content["target_names"])
        targets = targets.astype(np.int64)
    inputs = np.asarray(content["data"], dtype=np.float64)
    features = tuple(str(feature) for feature in content["feature_names"])
    return Table(inputs, targets, features, (entry.target,), classes)


def read_split(name: str) -> dict[str, npt.NDArray[np.int64]]:
    """Positions of a table's examples in "train", "validation" and "test": 60, 20 and 20 %, the same for everybody.

    Classes have their shares in all three.

    Raises:
        UnknownNameError: no such table.
        DataError: as in `read_table`.
    """
    table = read_table(name)
    count = len(table.targets)
    labels = np.zeros(count, np.int64) if table.classes is None else table.targets
    rest, test = split_off(labels, count // 5, _SPLIT_SEED, "test")
    train, validation = split_off(labels[rest], count // 5, _SPLIT_SEED, "validation")
    return {"train": rest[train], "validation": rest[validation], "test": test}


def _load(name: str, entry: _Entry) -> Mapping[str, Any]:
    """What scikit-learn holds under this name."""
    try:
        from sklearn import datasets

        content: Mapping[str, Any] = getattr(datasets, entry.function)(**entry.arguments)
    except Exception as error:  # a broken installation or a damaged file makes scikit-learn raise almost anything
        raise _broken(name, f"{type(error).__name__}: {error}") from error
    if len(content["data"]) != TABLES[name].examples:
        raise _broken(name, f"{len(content['data']):,} examples instead of {TABLES[name].examples:,}")
    return content


def _broken(name: str, reason: str) -> DataError:
    return DataError(
        f"the table {name!r} comes with scikit-learn and cannot be read ({reason}); "
        "install it again: pip install --force-reinstall scikit-learn"
    )
