"""What a result is asked with things that it cannot use: one line of our own, and nothing half done."""

from pathlib import Path
from typing import Any

import pytest
import torch
import xarray

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError, StoreError, UnknownNameError, a_kind
from bayesprune.run.pruned import Pruned
from bayesprune.run.tree.files import DIGEST

WRONG_PRICES = ("x", -1, -1e-9, float("nan"), float("inf"), True, [1.0])


@pytest.fixture(scope="module")
def pruned(small_data: Data) -> Pruned:
    return bp.prune("mlp", small_data, "parsimonious", widths=(6,), epochs=4, batch_size=40, seed=0, progress=False)


def refused(error: type[Exception], said: str, ask: Any, *arguments: Any, **named: Any) -> None:
    with pytest.raises(error, match=said) as caught:
        ask(*arguments, **named)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "kind"), [(1, "an int"), (None, "None"), ("x", "a str"), (object(), "an object")])
def test_a_kind_has_its_article(value: object, kind: str) -> None:
    assert a_kind(value) == kind


@pytest.mark.parametrize("tree", [None, {}, "draws.nc", xarray.Dataset()])
def test_what_is_no_tree_has_no_summary(tree: Any) -> None:
    for ask in (bp.summary, bp.for_arviz):
        refused(SettingError, r"the tree is (None|an? \w+): give an xarray.DataTree.*load_tree", ask, tree)


def test_a_summary_of_another_kind_is_refused(pruned: Pruned) -> None:
    refused(UnknownNameError, "unknown kind 'x': there are all, diagnostics, stats", bp.summary,
            pruned.posterior_tree(draws=8), kind="x")  # fmt: skip


def test_predictions_need_draws_of_gates(pruned: Pruned) -> None:
    count = pruned.structure.gate_count
    refused(
        SettingError, rf"gates are a str: give a tensor \[chains, draws, {count}\] of 0 and 1", pruned.predictive, "x"
    )
    refused(SettingError, "gates are None", pruned.predictive, None)
    for wrong in (0.5, -1.0, float("nan")):
        gates = torch.full((1, 2, count), wrong)
        refused(SettingError, "other values than 0 and 1: give draws, not probabilities", pruned.predictive, gates)


def test_only_a_module_is_asked_of_other_data(pruned: Pruned, small_data: Data) -> None:
    for wrong, kind in (("x", "a str"), (7, "an int")):
        refused(SettingError, f"network is {kind}: give a torch.nn.Module", pruned.out_of_distribution, small_data,
                network=wrong)  # fmt: skip


@pytest.mark.parametrize("price", WRONG_PRICES, ids=repr)
def test_a_price_is_a_number_of_nats_that_is_not_negative(pruned: Pruned, price: Any) -> None:
    said = "price must be a finite number of nats >= 0 for every gate, not"
    for ask in (pruned.evidence, pruned.exact, pruned.gibbs):
        refused(SettingError, said, ask, price=price)
    refused(SettingError, said, bp.to_datatree, pruned, prior="map", price=price)


def test_evidence_is_set_against_the_price_that_is_given(pruned: Pruned) -> None:
    own, found = pruned.evidence(), pruned.evidence(price=3)
    assert found.price is not None and found.log_odds is not None
    assert torch.equal(found.evidence, own.evidence) and found.price.tolist() == [3.0] * len(own)
    assert torch.equal(found.log_odds, (own.evidence - 3).masked_fill(own.needed, torch.inf))


def test_a_file_without_a_digest_is_read_on_request_only(pruned: Pruned, tmp_path: Path) -> None:
    tree, file = pruned.posterior_tree(draws=8), tmp_path / "draws.nc"
    file.write_bytes(bytes(tree.to_netcdf(engine="h5netcdf")))  # as another program would
    refused(StoreError, f"has no attribute '{DIGEST}'.*unsigned=True", bp.load_tree, file)
    assert bp.load_tree(file, unsigned=True).identical(tree)
    bp.save_tree(tree, file)
    assert bp.load_tree(file, unsigned=True).identical(tree)
    signed = bytearray(file.read_bytes())
    place = signed.find(DIGEST.encode())
    signed[place : place + len(DIGEST)] = b"x" * len(DIGEST)  # the digest is renamed away
    file.write_bytes(bytes(signed))
    refused(StoreError, "has no attribute|damaged", bp.load_tree, file)
