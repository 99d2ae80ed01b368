"""Trees on disk: whole or not at all, and refused when they are damaged."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import xarray

import bayesprune as bp
from bayesprune.errors import StoreError
from bayesprune.run.tree.files import DIGEST


@pytest.fixture
def tree() -> xarray.DataTree:
    generator = np.random.default_rng(0)
    z = generator.integers(0, 2, (2, 50, 300)).astype(np.uint8)
    gates = [f"fc1[{place}]" for place in range(300)]
    found = xarray.DataTree.from_dict(
        {
            "posterior": xarray.Dataset(
                {"z": (("chain", "draw", "gate"), z)}, {"chain": [0, 1], "draw": np.arange(50), "gate": gates}
            ),
            "log_likelihood": xarray.Dataset({"y": (("chain", "draw", "example"), generator.normal(size=(2, 50, 9)))}),
        }
    )
    found.attrs["note"] = "made up"
    return found


def test_what_is_written_is_read(tree: xarray.DataTree, tmp_path: Path) -> None:
    file = bp.save_tree(tree, tmp_path / "new" / "draws.nc")
    back = bp.load_tree(file)
    assert back.identical(tree) and os.listdir(file.parent) == ["draws.nc"]
    file.unlink()  # it lies in memory
    assert back["posterior"]["z"].dtype == np.uint8 and int(back["posterior"]["z"].sum()) > 0
    assert bp.load_tree(str(bp.save_tree(back, str(tmp_path / "again.nc")))).identical(tree)


def test_other_readers_take_the_file(tree: xarray.DataTree, tmp_path: Path) -> None:
    """Also ArviZ 0.23, which reads files of its own kind by itself."""
    file = bp.save_tree(tree, tmp_path / "draws.nc")
    with xarray.open_datatree(file, engine="h5netcdf") as opened:
        assert opened.equals(tree)
    import arviz

    if hasattr(arviz, "InferenceData"):
        data = arviz.from_netcdf(file, engine="h5netcdf")
        assert data.posterior["z"].equals(tree["posterior"]["z"])


def test_a_file_cut_short_anywhere_is_refused(tree: xarray.DataTree, tmp_path: Path) -> None:
    file = bp.save_tree(tree, tmp_path / "draws.nc")
    content = file.read_bytes()
    for length in (0, 1, 8, 100, len(content) // 2, len(content) - 1000, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(StoreError, match=r"draws.nc is damaged: .*make it again"):
            bp.load_tree(file)


@pytest.mark.parametrize("start", [100, 331, 562])
def test_a_changed_byte_is_found_wherever_it_is(tree: xarray.DataTree, tmp_path: Path, start: int) -> None:
    """What is read is the tree that was written, or it is refused: numbers and names alike."""
    file = bp.save_tree(tree, tmp_path / "draws.nc")
    content = file.read_bytes()
    refused = 0
    for place in np.linspace(start, len(content) - 100, 12).astype(int):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            found = bp.load_tree(file)
        except StoreError:
            refused += 1
        else:
            assert DIGEST not in found.attrs and found.identical(tree), place
    assert refused > 2


def test_what_is_no_tree_of_draws_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read .*none.nc: No such file"):
        bp.load_tree(tmp_path / "none.nc")
    with pytest.raises(StoreError, match="cannot read"):
        bp.load_tree(tmp_path)
    (tmp_path / "text.nc").write_text("no tree")
    with pytest.raises(StoreError, match="damaged"):
        bp.load_tree(tmp_path / "text.nc")
    other = xarray.DataTree.from_dict({"weather": xarray.Dataset({"rain": ("day", [1.0, 2.0])})})
    with pytest.raises(StoreError, match="holds no posterior with chain and draw"):
        bp.load_tree(bp.save_tree(other, tmp_path / "weather.nc"))


def test_a_full_disk_leaves_nothing_half_written(
    tree: xarray.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    file = bp.save_tree(tree, tmp_path / "draws.nc")
    before, opened = file.read_bytes(), os.open

    def open_then_fill(path: str, flags: int, mode: int = 0o777) -> int:
        os.close(opened(path, flags, mode))
        return opened("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(os, "open", open_then_fill)
    with pytest.raises(StoreError, match=r"cannot write .*draws.nc: .*; free some space"):
        bp.save_tree(tree, file)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["draws.nc"] and file.read_bytes() == before


def test_a_place_that_cannot_be_written_to_is_named(
    tree: xarray.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match=r"cannot write .*file.draws.nc"):
        bp.save_tree(tree, tmp_path / "file" / "draws.nc")

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match="choose a folder on a disk that is not read-only"):
        bp.save_tree(tree, tmp_path / "draws.nc")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["file"]


def test_what_netcdf_cannot_hold_is_refused(tmp_path: Path) -> None:
    odd = xarray.DataTree.from_dict({"posterior": xarray.Dataset({"z": ("draw", np.array([{}, []], dtype=object))})})
    with pytest.raises(StoreError, match="NetCDF holds numbers and text only"):
        bp.save_tree(odd, tmp_path / "odd.nc")
    assert os.listdir(tmp_path) == []
