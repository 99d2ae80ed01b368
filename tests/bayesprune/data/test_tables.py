"""The tables of scikit-learn: what they hold, their fixed splits, and an installation that is broken."""

import importlib.util
import sys
from zlib import crc32

import numpy as np
import pytest
from sklearn import datasets

from bayesprune.data import tables
from bayesprune.data.tables import TABLES, read_split, read_table
from bayesprune.errors import DataError, UnknownNameError

SHAPES = {"diabetes": (442, 10), "breast-cancer": (569, 30), "wine": (178, 13)}
SIZES = {"diabetes": (266, 88, 88), "breast-cancer": (343, 113, 113), "wine": (108, 35, 35)}
CLASSES = {"diabetes": None, "breast-cancer": ("malignant", "benign"), "wine": ("class_0", "class_1", "class_2")}


def test_every_table_has_its_shapes() -> None:
    assert set(SHAPES) == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_its_entry_says(name: str) -> None:
    table = read_table(name)
    assert table.inputs.shape == SHAPES[name] and table.inputs.dtype == np.float64
    assert table.targets.shape == (TABLES[name].examples,) and len(table.target_names) == 1
    assert len(set(table.feature_names)) == SHAPES[name][1]
    assert table.classes == CLASSES[name]
    assert (table.classes is None) == (TABLES[name].task == "regression")
    if table.classes is None:
        assert table.targets.dtype == np.float64
    else:
        assert table.targets.dtype == np.int64 and set(table.targets) == set(range(len(table.classes)))


def test_the_features_of_diabetes_are_not_scaled() -> None:
    table = read_table("diabetes")
    assert table.feature_names[:2] == ("age", "sex") and table.inputs[0, :2].tolist() == [59, 2]
    assert table.targets[:3].tolist() == [151, 75, 141]


@pytest.mark.parametrize("name", TABLES)
def test_splits_hold_every_example_once_and_every_class_in_proportion(name: str) -> None:
    table, split = read_table(name), read_split(name)
    assert list(split) == ["train", "validation", "test"]
    assert tuple(len(positions) for positions in split.values()) == SIZES[name]
    assert sorted(np.concatenate(list(split.values()))) == list(range(TABLES[name].examples))
    for positions in split.values():
        assert positions.dtype == np.int64
        for label in range(len(table.classes or ())):
            share = int((table.targets == label).sum()) * len(positions) / len(table.targets)
            assert abs(int((table.targets[positions] == label).sum()) - share) < 2


@pytest.mark.parametrize(
    ("name", "checksum"), [("diabetes", 2434521081), ("breast-cancer", 1361504140), ("wine", 1555871143)]
)
def test_a_split_stays_what_it_is(name: str, checksum: int) -> None:
    """Written down once: results of other days were computed on these splits."""
    split = {part: positions.tolist() for part, positions in read_split(name).items()}
    assert crc32(str(split).encode()) == checksum


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown table 'diabetis': did you mean 'diabetes'"):
        read_table("diabetis")


def test_a_missing_scikit_learn_is_a_data_error_and_does_not_hide_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    spec = importlib.util.spec_from_file_location("alone", tables.__file__)
    assert spec is not None and spec.loader is not None
    alone = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "alone", alone)  # dataclasses look their module up
    spec.loader.exec_module(alone)
    assert list(alone.TABLES) == list(TABLES)
    with pytest.raises(DataError, match="'wine' comes with scikit-learn .*ModuleNotFoundError.* install it again"):
        alone.read_split("wine")


def test_a_damaged_table_is_a_data_error(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = datasets.load_wine()
    monkeypatch.setattr(datasets, "load_wine", lambda: whole | {"data": whole["data"][:-1]})
    with pytest.raises(DataError, match="177 examples instead of 178"):
        read_table("wine")
