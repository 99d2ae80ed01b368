"""Trees as NetCDF files, written whole or not at all, and read without trust."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayesprune.errors import StoreError
from bayesprune.store.atomic import read_bytes, write_bytes

if TYPE_CHECKING:
    import xarray

LARGEST = 2**34
"""Bytes of a file that is read."""


def save_tree(tree: "xarray.DataTree", path: str | Path) -> Path:
    """Write a tree as a NetCDF file that ArviZ and every reader of NetCDF 4 take; a failure changes nothing at `path`.

    Whole numbers are compressed without loss, and every part has a checksum that reading checks.

    Args:
        tree: as `to_datatree` makes it.
        path: of the file; its folder is made where it is missing.

    Returns:
        `path`.

    Raises:
        StoreError: the file cannot be written, or the tree has something that NetCDF cannot hold.
    """
    try:
        content = tree.to_netcdf(engine="h5netcdf", encoding=_encoding(tree))
    except Exception as error:  # h5netcdf, h5py and xarray raise what they like
        raise StoreError(f"cannot write {path}: {_line(error)}; NetCDF holds numbers and text only") from error
    write_bytes(path, bytes(content))
    return Path(path)


def load_tree(path: str | Path) -> "xarray.DataTree":
    """Read a tree that `save_tree` (or the command line) wrote, all of it, into memory; nothing in it is executed.

    Raises:
        StoreError: there is no such file, it is damaged or cut short, or holds no posterior.
    """
    import xarray

    content = read_bytes(path, LARGEST)
    try:
        _read_all(content)
        with xarray.open_datatree(io.BytesIO(content), engine="h5netcdf") as opened:
            tree = opened.load()
    except Exception as error:  # of a damaged file; as above
        raise StoreError(f"{path} is damaged: it is no NetCDF file ({_line(error)}); make it again") from error
    if "posterior" not in tree or not {"chain", "draw"} <= set(tree["posterior"].dims):
        raise StoreError(f"{path} holds no posterior with chain and draw: give a file that bayesprune.save_tree wrote")
    return tree


def _read_all(content: bytes) -> None:
    """Read every part once, so that damage is found here: of a file that it cannot open h5netcdf complains twice."""
    import h5py

    def read(_: str, part: Any) -> None:
        list(part.attrs.items())
        if isinstance(part, h5py.Dataset):
            part[()]

    with h5py.File(io.BytesIO(content), "r") as file:
        read("", file)
        file.visititems(read)


def _encoding(tree: "xarray.DataTree") -> dict[str, dict[str, dict[str, Any]]]:
    """How every variable lies in the file."""
    return {
        node.path: {
            str(name): {"fletcher32": True} | ({"zlib": True, "complevel": 1} if value.dtype.kind in "iu" else {})
            for name, value in node.data_vars.items()
            if value.ndim and value.dtype.kind in "iuf"
        }
        for node in tree.subtree
    }


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
