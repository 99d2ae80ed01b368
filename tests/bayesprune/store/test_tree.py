"""States in one file: exact round trips, and damage that is always noticed."""

import json
import math
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bayesprune.errors import StoreError
from bayesprune.store import tree as tree_module
from bayesprune.store.atomic import write_bytes
from bayesprune.store.tensors import load_tensors, save_tensors
from bayesprune.store.tree import load_tree, save_tree

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8,
    torch.bool,
]  # fmt: skip


def same(first: Any, second: Any) -> bool:
    """Equal in type, structure and every bit; NaN equals NaN, 1 does not equal 1.0 or True."""
    if type(first) is not type(second):
        return False
    if isinstance(first, Tensor):
        alike = first.dtype == second.dtype and first.shape == second.shape
        return alike and torch.equal(as_bytes(first), as_bytes(second))
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return repr(first) == repr(second)


def as_bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    kind = draw(st.sampled_from(DTYPES))
    values = draw(st.integers(0, 2**31))
    full = torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(values)).to(kind)
    return full.transpose(0, -1) if len(shape) > 1 else full


keys = st.text(max_size=5) | st.integers()
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8) | tensors(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(tree=trees)
def test_every_tree_comes_back_as_it_was(tmp_path: Path, tree: Any) -> None:
    save_tree(tmp_path / "t", tree)
    assert same(load_tree(tmp_path / "t"), tree)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1 + 0.2, 2**200, "\ud800", "", []])
def test_values_that_are_easily_lost_come_back(tmp_path: Path, value: object) -> None:
    save_tree(tmp_path / "t", {"value": value})
    assert same(load_tree(tmp_path / "t"), {"value": value})


def test_bits_of_nan_in_tensors_views_and_shared_memory_survive(tmp_path: Path) -> None:
    base = torch.tensor([[1.0, math.nan, -0.0], [math.inf, 2.0, 3.0]])
    tree = {"all": base, "row": base[1], "column": base[:, 0], "again": base, "wide": base[:1].expand(4, 3)}
    save_tree(tmp_path / "t", tree)
    loaded = load_tree(tmp_path / "t")
    assert same(loaded, tree)
    loaded["all"].zero_()
    assert same(loaded["again"], base)


def test_subclasses_come_back_as_the_plain_type_without_gradient(tmp_path: Path) -> None:
    save_tree(tmp_path / "t", OrderedDict(weight=nn.Parameter(torch.ones(2))))
    loaded = load_tree(tmp_path / "t")
    assert same(loaded, {"weight": torch.ones(2)})
    assert not loaded["weight"].requires_grad


@pytest.mark.parametrize("kind", ["adam", "amsgrad", "sgd"])
def test_a_training_state_continues_to_the_same_numbers(tmp_path: Path, kind: str) -> None:
    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
        if kind == "sgd":
            return network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        return network, torch.optim.Adam(network.parameters(), lr=0.1, amsgrad=kind == "amsgrad")

    def train(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        for _ in range(3):
            optimizer.zero_grad()
            network(torch.randn(8, 4)).square().sum().backward()
            optimizer.step()
        return [value.clone() for value in network.state_dict().values()]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, optimizer = build()
        train(network, optimizer)
        state = {
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": {"torch": torch.get_rng_state(), "python": random.Random(0).getstate()},
        }
        save_tree(tmp_path / "checkpoint", state)
        expected = train(network, optimizer)

        loaded = load_tree(tmp_path / "checkpoint")
        again, optimizer_again = build()
        again.load_state_dict(loaded["network"])
        optimizer_again.load_state_dict(loaded["optimizer"])
        torch.set_rng_state(loaded["random"]["torch"])
        found = train(again, optimizer_again)
    assert same(found, expected)
    assert list(loaded["optimizer"]["state"]) == [0, 1, 2, 3, 4, 5]
    assert loaded["random"]["python"] == random.Random(0).getstate()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": [1, {2}]}, r"tree\['a'\]\[1\] is a set"),
        ({"a": lambda: 0}, "is a function"),
        ({(1, 2): 3}, r"the key \(1, 2\): keys must be text or integers"),
        ({"a": {True: 3}}, "the key True"),
        ({"a": torch.eye(2).to_sparse()}, "not dense"),
        ({"a": torch.zeros(2, device="meta")}, "not dense"),
    ],
)
def test_what_a_state_cannot_hold_is_named_and_nothing_written(tmp_path: Path, tree: Any, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        save_tree(tmp_path / "t", tree)
    assert list(tmp_path.iterdir()) == []


def test_a_tree_that_holds_itself_is_refused(tmp_path: Path) -> None:
    looped: list[object] = []
    looped.append(looped)
    with pytest.raises(StoreError, match="cannot write"):
        save_tree(tmp_path / "t", looped)


EXAMPLE = {
    "step": 7,
    "best": math.nan,
    "theta": torch.arange(6.0).reshape(2, 3),
    "names": ("a", [None, True]),
    3: "",
}


@pytest.fixture
def written(tmp_path: Path) -> bytes:
    save_tree(tmp_path / "whole", EXAMPLE)
    return (tmp_path / "whole").read_bytes()


def load_from(folder: Path, data: bytes) -> Any:
    (folder / "mutated").write_bytes(data)
    return load_tree(folder / "mutated")


def test_every_truncation_is_noticed(tmp_path: Path, written: bytes) -> None:
    for length in range(len(written)):
        with pytest.raises(StoreError, match="mutated"):
            load_from(tmp_path, written[:length])


@settings(max_examples=settings().max_examples * 3)
@given(data=st.data())
def test_changed_bytes_load_as_what_was_saved_or_not_at_all(
    tmp_path: Path, written: bytes, data: st.DataObject
) -> None:
    mutated = bytearray(written)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        mutated[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not mutated:
            break
    try:
        loaded = load_from(tmp_path, bytes(mutated))
    except StoreError:
        return
    assert same(loaded, EXAMPLE)


@given(data=st.binary(max_size=300))
def test_bytes_that_were_never_a_state_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(StoreError):
        load_from(tmp_path, data)


def test_every_flipped_bit_of_the_tensors_is_noticed(tmp_path: Path, written: bytes) -> None:
    start = 8 + int.from_bytes(written[:8], "little")
    assert len(written) - start == 24
    for place in range(start, len(written)):
        for bit in range(8):
            flipped = bytearray(written)
            flipped[place] ^= 1 << bit
            with pytest.raises(StoreError, match="checksum"):
                load_from(tmp_path, bytes(flipped))


@pytest.mark.parametrize(
    "structure",
    [
        "{}", '{"tensor":"9"}', '{"tensor":3}', '{"float":"1"}', '{"tuple":3}', '{"dict":[3]}',
        '{"dict":[["a"]]}', '{"dict":[[[],1]]}', '{"dict":[[true,1]]}', '{"dict":["ab"]}',
        '{"dict":[],"tuple":[]}', '{"code":"x"}', "", "NaN", "[" * 5000 + "]" * 5000,
    ],
)  # fmt: skip
def test_structures_that_no_tree_has_are_refused_even_with_a_right_checksum(tmp_path: Path, structure: str) -> None:
    notes = {"format": tree_module._FORMAT, "structure": structure}
    save_tensors(tmp_path / "t", {"0": torch.zeros(1)}, notes)
    with pytest.raises(StoreError, match="structure"):
        load_tree(tmp_path / "t")


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    save_tensors(tmp_path / "plain", {"w": torch.zeros(1)})
    with pytest.raises(StoreError, match="holds no saved state"):
        load_tree(tmp_path / "plain")
    with pytest.raises(StoreError, match="cannot read"):
        load_tree(tmp_path / "gone")


def test_named_tensors_are_an_ordinary_safetensors_file(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()
    save_tensors(tmp_path / "network.safetensors", state)
    assert same(dict(sorted(load_file(tmp_path / "network.safetensors").items())), dict(sorted(state.items())))
    assert same(dict(sorted(load_tensors(tmp_path / "network.safetensors").items())), dict(sorted(state.items())))


def test_tensors_of_others_are_read_without_a_checksum_but_damage_in_ours_is_noticed(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "theirs")
    assert same(load_tensors(tmp_path / "theirs"), {"w": torch.ones(2)})
    save_tensors(tmp_path / "ours", {"w": torch.ones(2)}, {"note": "x"})
    data = (tmp_path / "ours").read_bytes()
    write_bytes(tmp_path / "ours", data[:-1] + b"\x00")
    with pytest.raises(StoreError, match="ours is damaged or was changed"):
        load_tensors(tmp_path / "ours")


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    tensor = {"dtype": "F32", "shape": [0, 2**40, 2**40], "data_offsets": [0, 0]}
    header = json.dumps({"w": tensor}).encode()
    write_bytes(tmp_path / "t", len(header).to_bytes(8, "little") + header)
    with pytest.raises(StoreError, match="damaged"):
        load_tensors(tmp_path / "t")
