"""Names of data sets, and what is told about them."""

import json
from pathlib import Path

import pytest

from bayesprune.data import cache_folder, describe, known, load
from bayesprune.data.places import find_places
from bayesprune.errors import DataUnavailableError, SettingError, UnknownNameError


def test_the_names_of_the_design_are_known() -> None:
    tables = ("diabetes", "breast-cancer", "wine", "teacher200", "teacher2000", "layers1", "layers2", "layers3")
    reber = ("reber", "reber-embedded", "reber-hard")
    downloads, own = (
        ("mnist", "fashion-mnist", "cifar10", "svhn", "reber-study"),
        ("folder:PATH", "npz:PATH", "csv:FILE[:TARGET]"),
    )
    assert known() == ("mnist5k", *tables, *reber, *downloads, *own)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("minst", "mnist"),
        ("MNIST5K", "mnist5k"),
        ("cifar", "cifar10"),
        ("fashion_mnist", "fashion-mnist"),
        ("", None),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, nearest: str | None) -> None:
    with pytest.raises(UnknownNameError, match="unknown data set") as caught:
        load(name)
    assert caught.value.nearest == nearest
    assert "npz:PATH" in str(caught.value)


@pytest.mark.parametrize("name", ["zip:a", "folder", "npz", ":", "mnist:1"])
def test_other_kinds_and_missing_colons_are_unknown(name: str) -> None:
    with pytest.raises(UnknownNameError):
        load(name)


@pytest.mark.parametrize("name", ["folder:", "npz:"])
def test_a_kind_without_a_path_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name}PATH"):
        load(name)


@pytest.mark.parametrize("name", ["mnist5k", "mnist"])
def test_an_impossible_seed_is_refused_before_anything_is_read(name: str) -> None:
    with pytest.raises(SettingError, match="split seed is -3"):
        load(name, seed=-3)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "svhn", "reber-study"])
def test_every_download_is_refused_offline_with_the_way_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match=f"'{name}' is not on this machine.*{tmp_path}.*'mnist5k'"):
        load(name, root=tmp_path)


def test_describe_tells_what_is_there(mnist_root: Path, cache: Path) -> None:
    infos = {info.name: info for info in describe(mnist_root)}
    assert tuple(infos) == known()
    assert infos["mnist"].present is True
    assert infos["mnist"].place == str(mnist_root / "MNIST" / "raw")
    assert infos["mnist"].bytes == 16 + 100 * 20 + 8 + 100 + 16 + 20 * 20 + 8 + 20
    assert infos["svhn"].present is False
    assert infos["svhn"].place == str(mnist_root)
    assert infos["mnist5k"].present is True
    assert infos["mnist5k"].examples == (4_000, 1_000)
    assert infos["npz:PATH"].present is None
    assert json.loads(json.dumps([info.as_dict() for info in infos.values()]))[1]["name"] == "diabetes"
    assert not cache.exists()


def test_without_a_variable_the_cache_folder_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    assert {info.place for info in describe() if info.present is False} == {str(cache)}
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/not/allowed")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/bayesprune")


def test_a_data_folder_that_cannot_be_written_to_is_not_told_as_the_place_of_downloads(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file is no folder")
    monkeypatch.setenv("BAYESPRUNE_DATA", str(blocked))
    assert find_places().folders == (blocked, cache)
    assert {info.place for info in describe() if info.present is False} == {str(cache)}


def test_behind_an_at_stands_the_size_of_the_validation_split(mnist_root: Path) -> None:
    for size in (10, 30):
        data = load(f"mnist@{size}", root=mnist_root)
        assert (len(data.train), len(data.validation), len(data.test)) == (100 - size, size, 20)
        assert data.fingerprint == load("mnist", root=mnist_root, validation=size).fingerprint
    for wrong in ("mnist@", "mnist@0", "mnist@-3", "mnist@half"):
        with pytest.raises(SettingError, match="behind the @ stands how many training examples validate"):
            load(wrong, root=mnist_root)
    with pytest.raises(UnknownNameError):
        load("mnist5k@100")


def test_less_of_a_data_set_is_asked_for_behind_a_slash(mnist_root: Path) -> None:
    """The hand-made MNIST: some examples validate, some train, all test, and the name tells."""
    whole = load("mnist@2", root=mnist_root)
    there = len(whole.train) + 2
    some = load("mnist@2/3", root=mnist_root)
    assert some.split_sizes == {"train": 3, "validation": 2, "test": len(whole.test)}
    assert some.name == f"mnist, 5 of {there}" and some.fingerprint != whole.fingerprint
    assert load("mnist@2/3", root=mnist_root).fingerprint == some.fingerprint
    assert load("mnist@2/3", root=mnist_root, seed=1).fingerprint != some.fingerprint
    for wrong in ("mnist@2/", "mnist@2/0", "mnist@2/x", "mnist@/3"):
        with pytest.raises(SettingError, match="behind a slash how many train, as in mnist@1000/5000"):
            load(wrong, root=mnist_root)
    with pytest.raises(SettingError, match=f"mnist has {there} training examples and {there + 1} are asked for"):
        load(f"mnist@2/{there - 1}", root=mnist_root)
