"""A whole state - nested dicts, lists, tuples, numbers, text and tensors - in one safetensors file.

The tensors are the file's tensors; the structure around them is JSON in the file's metadata. Nothing in a
file is ever executed. JSON values stand for themselves, except that objects are tagged nodes:
{"tensor": name}, {"dict": [[key, node], ...]}, {"tuple": [node, ...]} and {"float": "nan" | "inf" | "-inf"}.
"""

import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from bayesprune.errors import StoreError, a_kind
from bayesprune.store.json_values import parse_json
from bayesprune.store.tensors import CHECKSUM, damaged, load_with_metadata, save_tensors

_FORMAT = "bayesprune-tree-1"
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class _Malformed(ValueError):
    """A node that no tree encodes to."""


def save_tree(path: str | Path, tree: object) -> None:
    """Write a state to `path`, whole or not at all.

    A tree is a dict with keys that are text or integers, a list, a tuple, a str, int, float, bool, None or a
    tensor. Subclasses (OrderedDict, Parameter) come back as the plain type, tensors on the CPU.

    Raises:
        StoreError: the file cannot be written, or the tree holds something else; the message says where.
    """
    tensors: dict[str, Tensor] = {}
    try:
        structure = json.dumps(_encode(tree, "tree", tensors), separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"cannot write {path}: {error}") from error
    save_tensors(path, tensors, {"format": _FORMAT, "structure": structure})


def load_tree(path: str | Path) -> Any:
    """The state that `save_tree` wrote.

    Raises:
        StoreError: the file cannot be read, is damaged or was changed, or is of another kind.
    """
    tensors, notes = load_with_metadata(path)
    if notes.get("format") != _FORMAT or CHECKSUM not in notes:
        raise StoreError(f"{path} holds no saved state of this version; make it again")
    try:
        return _decode(parse_json(notes.get("structure", ""), any_whole=True), tensors)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"its structure cannot be read ({error})") from error


def _encode(value: object, where: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {
            "dict": [[_key(key, where), _encode(item, f"{where}[{key!r}]", tensors)] for key, item in value.items()]
        }
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{where}[{place}]", tensors) for place, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    raise ValueError(f"{where} is {a_kind(value)}, which a saved state cannot hold")


def _key(key: object, where: str) -> str | int:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise ValueError(f"{where} has the key {key!r}: keys must be text or integers")
    return key


def _decode(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, list):
        return [_decode(item, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    if len(node) != 1:
        raise _Malformed(f"a node has {len(node)} tags")
    ((tag, content),) = node.items()
    if tag == "tensor" and isinstance(content, str) and content in tensors:
        return tensors[content]
    if tag == "float" and isinstance(content, str) and content in _NON_FINITE:
        return _NON_FINITE[content]
    if tag == "tuple" and isinstance(content, list):
        return tuple(_decode(item, tensors) for item in content)
    if tag == "dict" and isinstance(content, list):
        return dict(_decode_item(item, tensors) for item in content)
    raise _Malformed(f"a node has the tag {tag!r} with unusable content")


def _decode_item(item: Any, tensors: dict[str, Tensor]) -> tuple[str | int, Any]:
    if not isinstance(item, list) or len(item) != 2:
        raise _Malformed("an item of a dict is not a pair")
    return _key(item[0], "a dict"), _decode(item[1], tensors)
