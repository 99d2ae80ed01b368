"""The study on CIFAR-10: its rows, the table beside published networks, and verdicts on made-up runs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bayesprune.data import DataInfo
from bayesprune.experiments.methods import METHODS
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.cifar import runs
from bayesprune.experiments.papers.cifar.published import BEST_TEST, PUBLISHED
from bayesprune.experiments.papers.cifar.tables import DENSE_MACS, beside_published
from bayesprune.experiments.papers.cifar.targets import sections, targets
from bayesprune.experiments.papers.results import write_results
from bayesprune.experiments.papers.rows import Row, RowRuns
from bayesprune.experiments.papers.verdicts import MISSED, REACHED, UNKNOWN
from bayesprune.models import ResNet20, ResNet56
from bayesprune.store.runs import RunRecord
from bayesprune.structure import layer_costs

STUDY = paper("cifar")
MakeRun = Callable[..., RunRecord]


def layers(kept: float, blocks: int = 9) -> list[dict[str, Any]]:
    """Layers of a network of 1,000,000 MACs of which a share is left, and so many sections."""
    rows = [("conv", 1_000_000 - 9), *((f"stage1.{n}.conv1", 1) for n in range(9))]
    return [
        {
            "name": name, "kind": "Conv2d", "inputs": 3, "outputs": 4,
            "macs": round(kept * macs) if name == "conv" else 1, "params": 5,
            "dense_inputs": 3, "dense_outputs": 4, "dense_macs": macs, "dense_params": 5,
        }
        for name, macs in rows[: blocks + 1]
    ]  # fmt: skip


@pytest.fixture
def made(make_run: MakeRun) -> Callable[..., list[RowRuns]]:
    """Rows with finished runs: error in percent and share of MACs that is left, of row and seed; None for no run."""

    def make(
        rows: Sequence[Row], outcome: Callable[[Row, int], tuple[float, float] | None], data: str = "cifar10"
    ) -> list[RowRuns]:
        found = []
        for row in rows:
            records = []
            for seed in row.seeds:
                if (came := outcome(row, seed)) is None:
                    continue
                settings = replace(row.settings, seed=seed)
                run = make_run(
                    settings.method, seed, network=settings.network, data=data, settings=settings.to_json(),
                    accuracy=1 - came[0] / 100, macs=round(came[1] * 1e6), params=1_000,
                )  # fmt: skip
                run.layers[:] = layers(came[1])
                run.data["split_sizes"]["test"] = 10_000
                records.append(run)
            found.append(RowRuns(row, tuple(records)))
        return found

    return make


@pytest.mark.parametrize(("factory", "name"), [(ResNet20, "resnet20"), (ResNet56, "resnet56")])
def test_the_dense_networks_are_counted_again(factory: Any, name: str) -> None:
    assert sum(layer.macs for layer in layer_costs(factory(), torch.zeros(2, 3, 32, 32))) == DENSE_MACS[name]


def test_published_rows_are_those_of_the_list() -> None:
    """Accuracies and cuts, typed a second time."""
    wanted = {
        "vgg16": {
            "CORING": {(94.42, 58.1), (94.20, 66.6), (93.83, 78.6)},
            "CHIP": {(93.86, 58.1), (93.72, 66.6), (93.18, 78.6)},
            "HRankPlus": {(93.73, 58.1), (93.56, 66.6), (93.10, 78.6)},
            "BC-GNJ": {(91.4, None)}, "BC-GHS": {(91.0, None)},
        },
        "resnet56": {
            "DepGraph": {(93.83, round(100 - 100 / 2.12, 1)), (93.56, round(100 - 100 / 2.61, 1))},
            "CORING": {(94.22, 47.4), (92.84, 72.3)}, "CHIP": {(94.16, 47.4), (92.43, 74.1)},
            "whole layers by CKA": {(None, 78.8)},
        },
    }  # fmt: skip
    for network, methods in wanted.items():
        for method, figures in methods.items():
            rows = [row for row in PUBLISHED[network] if row.method == method]
            assert {(None if row.error is None else round(100 - row.error, 2), row.cut) for row in rows} == figures
        assert {row.method for row in PUBLISHED[network]} == set(methods)
    for row in (*PUBLISHED["vgg16"], *PUBLISHED["resnet56"]):
        assert (BEST_TEST in row.protocol) == (row.method in ("CORING", "CHIP", "HRankPlus", "DepGraph"))
    assert {row.compression for row in PUBLISHED["vgg16"]} == {None, 14.0, 18.0}


def test_every_row_has_a_size_and_a_schedule() -> None:
    for part in (*STUDY.parts, *STUDY.extra_parts):
        rows = STUDY.rows(part)
        epochs = {"long": 300, "cpu": runs.SMALL_EPOCHS}
        assert {row.settings.epochs for row in rows} == {epochs.get(part.partition("-")[2], 30)}
        assert [row.settings.method for row in rows].count("dense") == 1
        for row in rows:
            takes = METHODS[row.settings.method]
            assert (row.settings.budget is not None) == ("budget" in takes.takes and row.factor != runs.OWN), row.value
            assert row.settings.augment == "crop-flip" and row.settings.noise == 0.0
            assert row.start is None or row.start == rows[0].settings
    assert runs.budget_of(58.1) == "macs=41.9%"


def test_the_quick_study_is_narrow_and_says_what_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(present: bool) -> None:
        info = DataInfo("cifar10", "", None, None, present, None)
        monkeypatch.setattr(runs, "describe", lambda: [info])

    for present, data in ((True, "cifar10@500/3000"), (False, "mnist5k")):
        pretend(present)
        rows = STUDY.rows(quick=True)
        assert {row.settings.data for row in rows} == {data}
        assert all(row.settings.widths == runs.QUICK_WIDTHS[row.network] and len(row.seeds) == 1 for row in rows)
        assert {row.network for row in rows} == {"vgg16", "resnet20", "resnet56"}
        assert {"dense", "parsimonious", "l1-units"} <= {row.settings.method for row in rows}
    assert {row.settings.data for row in STUDY.rows(quick=True, data="svhn")} == {"svhn"}


def test_layer_gates_have_rows_where_there_are_sections() -> None:
    for network, there in (("resnet20", True), ("resnet56", True), ("vgg16", False)):
        assert ("layer-gates" in {row.settings.method for row in STUDY.rows(network)}) == there
    assert "layer-gates" in {row.settings.method for row in STUDY.rows("resnet20", quick=True)}


def test_ours_stand_above_published_rows_with_the_epoch_that_is_told(made: Callable[..., list[RowRuns]]) -> None:
    rows = [row for row in STUDY.rows("vgg16") if row.factor in (runs.DENSE, runs.TRAINED)]
    table = beside_published("vgg16", made(rows, lambda row, seed: (6.0 + 0.1 * seed, 0.4)))
    dense, tuned = table.rows[:2]
    assert dense[:4] == ("dense", "this study, 3 seeds", "last epoch of 30", "-")
    assert dense[4] == "6.10 ± 0.10" and dense[6] == "60.0 ± 0.0" and dense[7] == "400,000"
    assert tuned[2:4] == ("last epoch of 30 after 30 dense", "macs=41.9%")
    theirs = table.rows[len(rows) :]
    assert [row[6] for row in theirs] == ["58.1"] * 3 + ["66.6"] * 3 + ["78.6"] * 3 + ["-"] * 2
    assert theirs[0][:5] == ("CORING", "Pham et al., CORING", "best test epoch", "-", "5.58")
    assert theirs[0][7] == "131,341,336"  # 313,463,808 x 0.419
    assert theirs[-1][8] == "dense / 18"
    assert beside_published("resnet56", ()).rows[-1][4] == "-0.66 points of accuracy"


@pytest.mark.parametrize(
    ("loss", "left", "verdict"), [(1.0, 0.5, REACHED), (1.02, 0.4, MISSED), (0.0, 0.501, MISSED), (-0.5, 0.5, REACHED)]
)
def test_the_central_method_is_held_against_dense_and_its_budget(
    made: Callable[..., list[RowRuns]], loss: float, left: float, verdict: str
) -> None:
    rows = [row for row in STUDY.rows("resnet20") if row.settings.method in ("dense", "parsimonious")]
    found = made(rows, lambda row, seed: (8.0 + seed, 1.0) if row.factor == "dense" else (8.0 + seed + loss, left))
    first, layered = targets(found)
    assert (first.subject, first.verdict) == ("resnet20, parsimonious, 50 % cut", verdict)
    assert layered.verdict == UNKNOWN
    assert targets(made(rows, lambda row, seed: (8.0, 1.0) if seed else None))[0].measured == "2 runs missing"
    other = targets(made(rows, lambda row, seed: (8.0, 0.5), "cifar10 (JPEG copy), 3,500 of 50,000"))
    assert other[0].verdict == UNKNOWN and "on cifar10 (JPEG copy), 3,500 of 50,000, not cifar10" in other[0].measured


@pytest.mark.parametrize(("blocks", "loss", "verdict"), [(6, 1.0, REACHED), (7, 0.0, MISSED), (3, 1.1, MISSED)])
def test_layer_gates_are_held_against_the_sections_that_are_left(
    made: Callable[..., list[RowRuns]], blocks: int, loss: float, verdict: str
) -> None:
    dense = runs.dense_settings("resnet20", "minutes")
    rows = [
        Row(runs.DENSE, "dense", dense, (0, 1)),
        Row(runs.OWN, "layer-gates", replace(dense, method="layer-gates"), (0, 1)),
    ]
    found = made(rows, lambda row, seed: (8.0 + (loss if row.factor == runs.OWN else 0.0), 1.0))
    for run in found[1].records:
        run.layers[:] = layers(1.0, blocks)
    assert sections(found[0].records[0]) == 9 and sections(found[1].records[0]) == blocks
    (target,) = targets(found)
    assert target.verdict == verdict


SMALL_CASES = [
    ((6, 7, 3), (40.0, 35.0, 42.0), 0, (41.0, 30.0, 30.0), REACHED),  # the second removes too few
    ((6, 7, 3), (44.0, 35.0, 42.0), 2, (40.0, 30.0, 41.1), MISSED),
    ((8, 7, 9), (44.0, 35.0, 42.0), 1, (40.0, 30.0, 40.0), MISSED),
]


@pytest.mark.parametrize(("blocks", "validation", "chosen", "test", "verdict"), SMALL_CASES)
def test_validation_chooses_the_price_on_a_part_of_the_pictures(
    made: Callable[..., list[RowRuns]], blocks: tuple[int, ...], validation: tuple[float, ...], chosen: int,
    test: tuple[float, ...], verdict: str,
) -> None:  # fmt: skip
    rows = STUDY.rows("resnet20-cpu")
    assert {row.settings.data for row in rows} == {runs.SMALL_DATA} and rows[0].settings.method == "dense"
    errors = dict(zip([row.value for row in rows], (40.0, *test), strict=True))
    found = made(rows, lambda row, seed: (errors[row.value], 1.0), "cifar10 (JPEG copy), 5,000 of 50,000")
    for one, left, wrong in zip(found[1:], blocks, validation, strict=True):
        one.records[0].layers[:] = layers(1.0, left)
        one.records[0].history[-1]["validation_accuracy"] = 1 - wrong / 100
    (target,) = targets(found)
    assert target.subject == f"resnet20-cpu, {rows[1 + chosen].value}" and target.verdict == verdict


def test_the_whole_is_written(made: Callable[..., list[RowRuns]], tmp_path: Path) -> None:
    found = made(STUDY.rows(quick=True), lambda row, seed: (40.0, 0.4), "mnist5k")
    write_results("cifar", STUDY.evaluate(found), found, tmp_path)
    page, markdown = ((tmp_path / name).read_text("utf-8") for name in ("cifar.html", "tables.md"))
    for text in ("best test epoch", "CORING", "narrower than published", "CIFAR-10 is not on this machine", "BC-GNJ"):
        assert text in page and text in markdown
    assert len(json.loads((tmp_path / "results.json").read_text())["targets"]) == len(targets(found))
