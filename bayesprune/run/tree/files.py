"""Trees as NetCDF files, written whole or not at all, and read without trust."""

import io
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesprune.errors import StoreError
from bayesprune.store.atomic import read_bytes, write_bytes

if TYPE_CHECKING:
    import xarray

DIGEST = "content_digest"
"""Name of the attribute that holds the digest, in the file only."""

LARGEST = 2**34
"""Bytes of a file that is read."""


def save_tree(tree: "xarray.DataTree", path: str | Path) -> Path:
    """Write a tree as a NetCDF file that ArviZ and every reader of NetCDF 4 take; a failure changes nothing at `path`.

    Whole numbers are compressed without loss. The file holds a digest of all values, which `load_tree` checks.

    Args:
        tree: as `to_datatree` makes it.
        path: of the file; its folder is made where it is missing.

    Returns:
        `path`.

    Raises:
        StoreError: the file cannot be written, or the tree has something that NetCDF cannot hold.
    """
    try:
        signed = tree.copy()
        signed.attrs = {**tree.attrs, DIGEST: _digest(tree)}
        content = signed.to_netcdf(engine="h5netcdf", encoding=_encoding(tree))
    except Exception as error:  # h5netcdf, h5py and xarray raise what they like
        raise StoreError(f"cannot write {path}: {_line(error)}; NetCDF holds numbers and text only") from error
    write_bytes(path, bytes(content))
    return Path(path)


def load_tree(path: str | Path, *, unsigned: bool = False) -> "xarray.DataTree":
    """Read a tree that `save_tree` (or the command line) wrote, all of it, into memory; nothing in it is executed.

    Args:
        path: of the file.
        unsigned: also read a file without the digest that `save_tree` writes, such as one that another program has
            written: nobody can tell then whether its values are those that were meant.

    Raises:
        StoreError: there is no such file, it is damaged or cut short, has no digest, or holds no posterior.
    """
    import xarray

    content = read_bytes(path, LARGEST)
    try:
        _read_all(content)
        with xarray.open_datatree(io.BytesIO(content), engine="h5netcdf") as opened:
            tree = opened.load()
    except Exception as error:  # of a damaged file; as above
        raise StoreError(f"{path} is damaged: it is no NetCDF file ({_line(error)}); make it again") from error
    if DIGEST not in tree.attrs and not unsigned:
        raise StoreError(
            f"{path} has no attribute {DIGEST!r}, so bayesprune.save_tree did not write it and nothing tells whether "
            "it is whole: write it again, or give load_tree(path, unsigned=True) if you know where it comes from"
        )
    if DIGEST in tree.attrs and tree.attrs.pop(DIGEST) != _digest(tree):
        raise StoreError(f"{path} is damaged: its values are not those that were written; make it again")
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
    """Whole numbers compressed."""
    return {
        node.path: {
            str(name): {"zlib": True, "complevel": 1}
            for name, value in node.data_vars.items()
            if value.ndim and value.dtype.kind in "iu"
        }
        for node in tree.subtree
    }


def _digest(tree: "xarray.DataTree") -> str:
    """Hash of all names, dimensions, values and attributes, in an order of their own."""
    found = sha256()
    for node in sorted(tree.subtree, key=lambda node: node.path):
        own = node.to_dataset(inherit=False)
        said = sorted((str(name), str(value)) for name, value in own.attrs.items() if name != DIGEST)
        found.update(f"{node.path} {said}".encode())
        for name in sorted(own.variables, key=str):
            variable = own.variables[name]
            values = variable.to_numpy()
            found.update(f"{name} {variable.dims} {values.shape}".encode())
            is_number = values.dtype.kind in "iufb"
            found.update(np.ascontiguousarray(values).tobytes() if is_number else repr(values.tolist()).encode())
    return found.hexdigest()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
