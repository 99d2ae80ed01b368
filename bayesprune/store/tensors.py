"""Named tensors in one safetensors file with a checksum; no pickle is read or written."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bayesprune.errors import StoreError
from bayesprune.store.atomic import LARGEST_TEXT, open_file, read_from, write_bytes
from bayesprune.store.json_values import parse_json

CHECKSUM = "sha256"

LARGEST_FILE = 2**34
"""Bytes of the largest file of tensors that is read."""


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> str:
    """Write `tensors` and text `metadata` to a safetensors file, whole or not at all.

    Tensors that share memory are stored apart from each other; the device is not stored.

    Returns:
        The checksum, by which `load_tensors` tells the file from another one.

    Raises:
        StoreError: the file cannot be written, or a tensor is of a kind that safetensors cannot hold.
    """
    dense = {name: _storable(path, name, tensor) for name, tensor in tensors.items()}
    notes = dict(metadata or {})
    checksum = notes[CHECKSUM] = _checksum(dense, notes)
    try:
        data = save(dense, notes)
    except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise StoreError(f"cannot write {path}: safetensors cannot hold these tensors ({error})") from error
    write_bytes(path, data)
    return checksum


def load_tensors(path: str | Path, checksum: str | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU; the checksum is compared where the file has one.

    Args:
        path: of the file.
        checksum: the one that the file must have; None takes any.

    Raises:
        StoreError: the file cannot be read, is damaged, was changed, or is another one than `checksum` says.
    """
    tensors, notes = load_with_metadata(path)
    if checksum is not None and notes.get(CHECKSUM) != checksum:
        raise damaged(path, "it is not the file that run.json was written with")
    return tensors


def load_with_metadata(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its text metadata; errors as in `load_tensors`."""
    try:
        data, notes = _read(path)
        tensors = load(data)
    except (SafetensorError, LookupError, ValueError, RuntimeError, TypeError, AttributeError, MemoryError) as error:
        raise damaged(path, f"it is not a whole safetensors file ({error})") from error
    expected = notes.get(CHECKSUM)
    rest = {name: note for name, note in notes.items() if name != CHECKSUM}
    if expected is not None and expected != _checksum(tensors, rest):
        raise damaged(path, "its content does not fit its checksum")
    return tensors, notes


def damaged(path: str | Path, reason: str) -> StoreError:
    """The `StoreError` for a file whose content is not what was written."""
    return StoreError(f"{path} is damaged or was changed: {reason}; restore it or make it again")


def _storable(path: str | Path, name: str, tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU that shares memory with nothing."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise StoreError(f"cannot write {path}: tensor {name!r} is not dense; convert it first")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    return torch.Tensor.clone(plain, memory_format=torch.contiguous_format)


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over the metadata and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(path: str | Path) -> tuple[bytes, dict[str, str]]:
    """The content of a safetensors file and its text metadata.

    The first 8 bytes give the length of the header, and the header that of the file. The header is looked at
    first: a file of another length is not read into memory.
    """
    with open_file(path, LARGEST_FILE) as file:
        size = os.fstat(file.fileno()).st_size
        length = read_from(file, path, 8)
        header_size = int.from_bytes(length, "little")
        if header_size > min(size - len(length), LARGEST_TEXT):
            raise ValueError(f"its header has {header_size:,} of {size:,} bytes")
        text = read_from(file, path, header_size)
        header = parse_json(text)
        notes = dict(header.pop("__metadata__", None) or {})
        expected = 8 + header_size + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if size != expected:
            raise ValueError(f"it has {size:,} of {expected:,} bytes")
        return length + text + read_from(file, path), notes
