"""CSV files: tables that are understood, and files and columns that are refused by name."""

import gzip
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesprune.data import csv_columns, csv_table
from bayesprune.data.csv_table import Table, read_csv, split_name
from bayesprune.errors import DataError, SettingError, UnknownNameError


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(folder: Path, text: str, target: str | None = None) -> Table:
    return read_csv(write(folder, text), target)


def column(*cells: object, name: str = "a") -> str:
    """A table of one feature and a target."""
    return "\n".join([f"{name};y", *(f"{cell};{row}" for row, cell in enumerate(cells))])


def test_numbers_truth_and_text_become_features(tmp_path: Path) -> None:
    table = read(tmp_path, "size,new,colour,y\n1,True,red,3\n2.5,False,#00f,4\n-3e2,true,green,5\n")
    assert table.feature_names == ("size", "new", "colour=#00f", "colour=green", "colour=red")
    assert table.inputs.tolist() == [[1, 1, 0, 0, 1], [2.5, 0, 1, 0, 0], [-300, 1, 0, 1, 0]]
    assert table.inputs.dtype == np.float64
    assert table.targets.tolist() == [3, 4, 5] and table.targets.dtype == np.int64
    assert (table.target_names, table.classes) == (("y",), None)


@pytest.mark.parametrize(
    ("cells", "targets", "kind", "classes"),
    [
        (("b", "a", "b"), [1, 0, 1], np.int64, ("a", "b")),
        ((True, False, False), [1, 0, 0], np.int64, ("False", "True")),
        ((7, -2, 7), [7, -2, 7], np.int64, None),
        ((0.0, 1.0, 1.0), [0, 1, 1], np.float64, None),
        (("1,5", "2", "-0,25"), [1.5, 2, -0.25], np.float64, None),
    ],
)
def test_one_target(tmp_path: Path, cells: Any, targets: Any, kind: Any, classes: tuple[str, ...] | None) -> None:
    table = read(tmp_path, column(*cells), "a")
    assert table.targets.tolist() == targets
    assert (table.targets.dtype, table.classes) == (kind, classes)
    assert (table.feature_names, table.target_names) == (("y",), ("a",))


@pytest.mark.parametrize(
    ("target", "targets", "kind"),
    [
        ("b+c", [[1, 2], [4, 5]], np.int64),
        ("d, b", [[0.5, 1], [0.25, 4]], np.float64),
        ("t,u", [[1, 0], [0, 1]], np.int64),
        ("b+u", [[1, 0], [4, 1]], np.int64),
    ],
)
def test_several_targets_in_the_order_given(tmp_path: Path, target: str, targets: Any, kind: Any) -> None:
    table = read(tmp_path, "a,b,c,d,t,u\n0,1,2,.5,True,False\n3,4,5,.25,False,True\n", target)
    assert (table.targets.tolist(), table.targets.dtype, table.classes) == (targets, kind, None)
    assert len(table.target_names) == 2 and not set(table.target_names) & set(table.feature_names)


def test_a_whole_name_goes_before_a_list(tmp_path: Path) -> None:
    assert read(tmp_path, "a,a+b,b\n1,2,3\n4,5,6\n", "a+b").targets.tolist() == [2, 5]


@pytest.mark.parametrize(
    "text",
    [
        "a;b, c;y\n1;2;3\n4;5;6\n",
        'a,"b,\n c",y\n1,2,3\n4,5,6\n',
        "a\tb, c\ty\r\n1\t2\t3\r\n4\t5\t6\r\n",
        "\ufeff\n a, \"b, c\", y\n\n1, 2 ,3\n4,5,6",
    ],
)  # fmt: skip
def test_separators_quotes_blank_lines_and_spaces(tmp_path: Path, text: str) -> None:
    table = read(tmp_path, text)
    assert (table.feature_names, table.target_names) == (("a", "b, c"), ("y",))
    assert table.inputs.tolist() == [[1, 2], [4, 5]] and table.targets.tolist() == [3, 6]


def test_spaces_around_text_do_not_count_and_none_is_a_category(tmp_path: Path) -> None:
    table = read(tmp_path, 'a, y\nu , None\n "u", "v, w"\nv,None \n')
    assert table.feature_names == ("a=u", "a=v") and table.inputs.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert table.classes == ("None", "v, w") and table.targets.tolist() == [0, 1, 0]


def test_a_column_of_a_large_file_is_of_one_kind_from_end_to_end(tmp_path: Path) -> None:
    """Pandas reads a million cells at a time, and a piece of numbers would lose the zero of 01."""
    names, rest = ",".join(f"c{number}" for number in range(1024)), ",1" * 1023
    table = read(tmp_path, "\n".join([names, *[f"01{rest}"] * 1200, *[f"u{rest}"] * 300]))
    assert table.feature_names[:3] == ("c0=01", "c0=u", "c1") and table.inputs.sum(0)[:3].tolist() == [1200, 300, 1500]


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"a,y\n1,2\n3,4\n", mtime=0), "table.csv.gz")
    assert read_csv(path, None).inputs.tolist() == [[1], [3]]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        read_csv(path, None)


categories = st.text(alphabet="abcé #'\"=;,\n", min_size=1, max_size=4).map(lambda text: f"x{text}x")
eighths = st.integers(-(2**20), 2**20).map(lambda whole: whole / 8)  # every reader of decimals gets these exactly
kinds = st.sampled_from([st.integers(-(2**53), 2**53), eighths, st.booleans(), categories])


@settings(max_examples=settings().max_examples // 2)
@given(data=st.data())
def test_what_pandas_wrote_is_read_back(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = data.draw(st.integers(2, 8))
    cells: dict[str, list[Any]] = {
        f"c{number}": data.draw(st.lists(kind, min_size=rows, max_size=rows))
        for number, kind in enumerate(data.draw(st.lists(kinds, min_size=1, max_size=4)))
    }
    path = tmp_path_factory.getbasetemp() / "written.csv"
    targets = list(range(rows))
    pandas.DataFrame(cells | {"y": targets}).to_csv(path, index=False, sep=data.draw(st.sampled_from(",;\t")))
    table = read_csv(path, None)
    assert table.targets.tolist() == targets
    found = dict(zip(table.feature_names, table.inputs.T.tolist(), strict=True))
    expected: dict[str, list[float]] = {}
    for name, values in cells.items():
        if isinstance(values[0], str):
            expected |= {f"{name}={one}": [float(one == value) for value in values] for one in sorted(set(values))}
        else:
            expected[name] = [float(value) for value in values]
    assert list(found) == list(expected)
    assert found == expected


NUMBERS = list(range(18))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (column(1, "", 3, "NA"), "column 'a' of .* no value in 2 of 4 rows, the first is row 2:"),
        (column("u", "v", " "), "column 'a' of .* no value in 1 of 3 rows, the first is row 3:"),
        (column("u", "v", "NA "), "column 'a' of .* no value in 1 of 3 rows, the first is row 3:"),
        (column(True, "?"), "column 'a' of .* no value in 1 of 2 rows, the first is row 2:"),
        ("a,y\n1,2\n3\n", "column 'y' of .* no value in 1 of 2 rows, the first is row 2:"),
        (column(1, "inf", "-inf"), "column 'a' of .* infinite values in 2 of 3 rows, the first is row 2:"),
        (column(1, "1e999", 2), "column 'a' of .* infinite values in 1 of 3 rows, the first is row 2:"),
        (column(*NUMBERS, "x", "z"), "'a' of .* all but 2 of 20 rows, the first is row 19 with 'x':"),
        (column(*NUMBERS, "x" * 99), "the first is row 19 with 'xxxxx.*[.][.][.]':"),
        (column("2026-01-31", "2025-12-01"), "'a' of .* holds dates or times such as '2026-01-31'"),
        (column("31.1.2026 10:00", "1.12.2025 9:30"), "holds dates"),
        (column("1-Feb-2026", "3-Mar-2026"), "holds dates"),
        (column("10:30", "9:15"), "holds dates"),
        (column(*(f"n{row}" for row in range(101))), "'a' of .* 101 different texts such as 'n0', .* at most 100"),
        (column(1, 2**53 + 1), r"'a' of .* beyond 2\^53, the first in row 2:"),
        (column(-(2**63), 1), r"beyond 2\^53, the first in row 1:"),
        (column(10**30, 1), r"beyond 2\^53, the first in row 1:"),
        (column(2**64 - 1, -1), r"beyond 2\^53, the first in row 1:"),
        (column("1,234", "5"), "'a' of .* numbers with commas, the first in row 1: '1,234'; write a point"),
        (column("3", "1.234,5"), "numbers with commas, the first in row 2"),
        (column("1,5", "1.5"), "numbers with commas, the first in row 1"),
        ("a;b;y\n1,5;1.234;1\n2;3.456;2\n", "decimal commas in column 'a' and decimal points in column 'b'"),
        ('a,y\n"1,5",1\n2,2\n', "numbers with commas, the first in row 1"),
        ("a,a=u,y\nu,1,2\nv,3,4\n", "two features of .* are called 'a=u'"),
    ],
)
def test_columns_that_cannot_be_learned_from_are_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_tenth_of_text_is_a_mistake_and_more_are_categories(tmp_path: Path) -> None:
    assert read(tmp_path, column(*NUMBERS[:8], "x")).inputs.shape == (9, 9)
    with pytest.raises(DataError, match="all but 1 of 10 rows"):
        read(tmp_path, column(*NUMBERS[:9], "x"))


def test_a_hundred_categories_are_taken(tmp_path: Path) -> None:
    table = read(tmp_path, column(*(f"n{row:03}" for row in range(100))), "a")
    assert table.targets.tolist() == list(range(100)) and table.classes is not None and table.classes[99] == "n099"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; it needs a line of column names"),
        (" \n\n", "is empty"),
        ("a,y\n", "has 0 rows below"),
        ("a,y\n1,2\n", "has 1 row below"),
        ("a\n1\n2\n", "no column left to predict from: 1 in all"),
        ("a b\n1 2\n3 4\n", "no column left to predict from: 1 in all .*commas, semicolons or tabs"),
        ("a,b,a\n1,2,3\n4,5,6\n", "2 columns of .* are called 'a'"),
        ("a,\x1b[2J\n1,2\n3,4\n", r"column name '.x1b\[2J' of .* cannot be printed"),
        (",a,y\n0,1,2\n1,3,4\n", r"column 1 of .* has no name.*index=False"),
        ("5.1,3.5,0\n4.9,3.0,0\n3,2,1\n", r"the first line of .* \(5.1, 3.5, 0\) looks like a row"),
        ("5.1,true,u\n4.9,False,v\n4.2,True,u\n", r"the first line of .* \(5.1, true, u\) looks like a row"),
        ("5,1;2;0\n4,9;3;1\n4,2;1;0\n", r"the first line of .* \(5,1, 2, 0\) looks like a row"),
        ("a,b;c\n1,2\n3,4\n", "cannot be split into column names"),
        ('"a,y\n1,2\n', "cannot be split into column names"),
        ("a,y\n1,2,3\n4,5,6\n", "cannot be read as a table of 2 columns separated by commas"),
        ("a;y\n1;2\n4;5;6\n", "cannot be read as a table of 2 columns separated by semicolons"),
        ('a,y\n1,"2\n3,4\n', "cannot be read as a table of 2 columns"),
        (b"a,y\n\xe9,1\n", r"no text in UTF-8 \(byte 4 is 0xe9\)"),
        ("a,y\n1,2\n".encode("utf-16"), "no text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "no text in UTF-8"),
        (b"a,y\n1,\x00\n", "zero bytes"),
    ],
)
def test_files_that_hold_no_table_are_refused(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read_csv(write(tmp_path, text), None)
    assert "\n" not in str(caught.value)


def test_numbered_columns_are_names(tmp_path: Path) -> None:
    assert read(tmp_path, "0,1\n5,6\n7,8\n").feature_names == ("0",)
    assert read(tmp_path, "0,1,u\n5,6,v\n7,8,w\n").target_names == ("u",)


def test_a_column_may_be_called_like_one_of_its_values(tmp_path: Path) -> None:
    assert read(tmp_path, "length,spam\n5,spam\n7,ham\n").classes == ("ham", "spam")


@pytest.mark.parametrize(
    ("path", "says"), [("absent.csv", "is not there"), (".", "is not a file"), ("x" * 300, "is not")]
)
def test_a_path_to_no_file_is_refused(tmp_path: Path, path: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_csv(tmp_path / path, None)


def test_targets_that_cannot_be_had(tmp_path: Path) -> None:
    text = "price,rooms,kind\n1,2,u\n3,4,v\n"
    with pytest.raises(
        UnknownNameError, match="unknown column of .* 'prise': did you mean 'price'.* kind, price, rooms"
    ):
        read(tmp_path, text, "prise+rooms")
    with pytest.raises(UnknownNameError, match="unknown column of .* ''"):
        read(tmp_path, text, "price+")
    with pytest.raises(SettingError, match="names a column twice"):
        read(tmp_path, text, "price,price")
    with pytest.raises(DataError, match="'kind' of .* holds text and is one of 2 targets"):
        read(tmp_path, text, "kind+price")
    with pytest.raises(DataError, match=r"no column left to predict from: 3 in all \(price, rooms, kind\)"):
        read(tmp_path, text, "price,rooms,kind")


def test_a_wide_table_lists_only_names_that_are_alike(tmp_path: Path) -> None:
    names = [f"pixel{number}" for number in range(784)] + ["label"]
    with pytest.raises(UnknownNameError, match="did you mean 'label'") as caught:
        read(tmp_path, "\n".join([",".join(names), ",".join("0" * 785)]), "lable")
    assert len(str(caught.value)) < 400 + len(str(tmp_path)) and "more" in str(caught.value)


def test_a_name_is_split_behind_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("a", "a.csv", "a:b.csv"):
        write(tmp_path, "", name)
    for text, expected in {
        "a.csv": ("a.csv", None),
        "a.csv:y": ("a.csv", "y"),
        "a.csv:y+z,w": ("a.csv", "y+z,w"),
        "a.csv:ratio 1:2": ("a.csv", "ratio 1:2"),
        "a:b.csv": ("a:b.csv", None),
        "a:b.csv:y": ("a:b.csv", "y"),
        "absent.csv": ("absent.csv", None),
        "absent.csv:y": ("absent.csv", "y"),
        "absent:1.csv:y": ("absent:1.csv", "y"),
        "~/b.csv:y": (str(tmp_path / "home" / "b.csv"), "y"),
    }.items():
        assert split_name(text) == (Path(expected[0]), expected[1]), text


@pytest.mark.parametrize(("text", "lacks"), [("", "file"), (":y", "file"), ("a.csv:", "target"), (":", "file")])
def test_a_name_that_lacks_a_half_is_refused(text: str, lacks: str) -> None:
    with pytest.raises(SettingError, match=f"names no {lacks}; write FILE or FILE:TARGET"):
        split_name(text)


@pytest.mark.parametrize("module", [csv_table, csv_columns])
def test_loading_the_module_does_not_load_pandas(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    spec = importlib.util.spec_from_file_location("alone", module.__file__)
    assert spec is not None and spec.loader is not None
    alone = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "alone", alone)  # dataclasses look their module up
    spec.loader.exec_module(alone)
