"""Tables as data: CSV files of the user's, and those that come with scikit-learn."""

from pathlib import Path

from bayesprune.data.csv_table import Table, read_csv, split_name
from bayesprune.data.examples import Examples, RawData, to_examples
from bayesprune.data.tables import TABLES, read_split, read_table


def read_table_file(path: Path, name: str) -> RawData:
    """A CSV file, FILE or FILE:TARGET, as data; its columns are features, one-hot where they hold text.

    Raises:
        DataError: no such file, or a table that cannot be learned from; see `read_csv`.
        UnknownNameError: it has no column of this name.
    """
    file, target = split_name(name.partition(":")[2] or str(path))
    table = read_csv(file, target)
    return RawData(name, _examples(table, name), **_about(table))


def read_builtin(name: str) -> RawData:
    """A table of scikit-learn's by name, with its one fixed split.

    Raises:
        DataError: scikit-learn cannot give it.
    """
    table = read_table(name)
    everything, places = _examples(table, name), read_split(name)
    splits = {split: everything.take(rows) for split, rows in places.items()}
    return RawData(name, splits["train"], splits["validation"], splits["test"], **_about(table), task=TABLES[name].task)


def _examples(table: Table, name: str) -> Examples:
    return to_examples(table.inputs, table.targets, name)


def _about(table: Table) -> dict[str, tuple[str, ...]]:
    """Names of features and classes."""
    return {"features": table.feature_names, "class_names": table.classes or ()}
