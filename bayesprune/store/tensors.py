"""Named tensors in one safetensors file with a checksum; no pickle is read or written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bayesprune.errors import StoreError
from bayesprune.store.atomic import read_bytes, write_bytes
from bayesprune.store.json_values import parse_json

CHECKSUM = "sha256"


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write `tensors` and text `metadata` to a safetensors file, whole or not at all.

    Tensors that share memory are stored apart from each other; the device is not stored.

    Raises:
        StoreError: the file cannot be written, or a tensor is of a kind that safetensors cannot hold.
    """
    dense = {name: _storable(path, name, tensor) for name, tensor in tensors.items()}
    notes = dict(metadata or {})
    notes[CHECKSUM] = _checksum(dense, notes)
    try:
        data = save(dense, notes)
    except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise StoreError(f"cannot write {path}: safetensors cannot hold these tensors ({error})") from error
    write_bytes(path, data)


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU; the checksum is compared where the file has one.

    Raises:
        StoreError: the file cannot be read, or is damaged or was changed.
    """
    return load_with_metadata(path)[0]


def load_with_metadata(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its text metadata; errors as in `load_tensors`."""
    data = read_bytes(path)
    try:
        tensors, notes = load(data), _metadata(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
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


def _metadata(data: bytes) -> dict[str, str]:
    """The text metadata in a safetensors header, of which the first 8 bytes give the length."""
    header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return dict(header.get("__metadata__") or {})
