"""The study of uncertainty: its plan, and a tiny one from runs to pages."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bayesprune as bp
from bayesprune.data.cached import load_cached
from bayesprune.errors import StoreError
from bayesprune.experiments.jobs import execute
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.results import write_results
from bayesprune.experiments.papers.rows import Row, RowRuns, gather, jobs_of
from bayesprune.experiments.papers.uncertainty import runs
from bayesprune.experiments.papers.uncertainty.measure import PREDICTORS, Measured, measured, other_data, turned
from bayesprune.experiments.papers.uncertainty.targets import targets
from bayesprune.experiments.restarts import as_restarts
from bayesprune.store.json_values import plain_json
from bayesprune.store.runs import RunRecord

WIDTHS = (12, 8)


def test_repeats_have_seeds_of_their_own_and_the_restarts_cost_no_more_than_one_dense_network() -> None:
    rows = {row.factor: row for row in paper("uncertainty").rows(repeats=3)}
    assert rows[runs.COMPACT].seeds == tuple(range(15)) and rows[runs.DENSE].seeds == (0, 5, 10)
    assert [len(places) for places in runs.groups_of(rows[runs.COMPACT].seeds).values()] == [5, 5, 5]
    assert runs.groups_of(rows[runs.DROPOUT].seeds) == {0: [0], 1: [1], 2: [2]}
    assert rows[runs.COMPACT].settings.budget == "macs=20%"
    first, second = runs.SMALL_WIDTHS
    assert rows[runs.SMALL].settings.widths == runs.SMALL_WIDTHS
    assert 5 * (784 * first + first * second + second * 10) <= 784 * 300 + 300 * 100 + 100 * 10
    quick = {row.factor: row for row in paper("uncertainty").rows(quick=True)}
    assert quick[runs.COMPACT].seeds == (0, 1, 2) and quick[runs.DEEP].settings.options == {"members": 3}
    assert {row.settings.data for row in quick.values()} == {"mnist5k"}


def tiny(rows: Sequence[Row], data: str) -> list[Row]:
    """The quick rows on small pictures, with small networks."""
    made = []
    for row in rows:
        options = {"members": 2} if "members" in row.settings.options else dict(row.settings.options)
        if row.factor == runs.DROPOUT:
            options |= {"draws": 3}
        settings = replace(row.settings, widths=WIDTHS, epochs=2, batch_size=60, options=options)
        made.append(replace(row, settings=settings, seeds=row.seeds[:2]).on(data))
    return made


@pytest.fixture(scope="module")
def found(small_npz: str, tmp_path_factory: pytest.TempPathFactory) -> list[RowRuns]:
    root = tmp_path_factory.mktemp("uncertainty")
    rows = tiny(paper("uncertainty").rows(quick=True), small_npz)
    jobs = jobs_of(rows)
    folders = [execute(job, root, sized_by=None, progress=lambda _: None) for job in jobs]
    return gather(rows, jobs, [RunRecord.read(folder) for folder in folders])


@pytest.fixture(scope="module")
def values(found: list[RowRuns]) -> dict[str, Measured]:
    return {one.predictor: one for one in measured(found)[0]}


def test_every_predictor_is_measured_as_its_network_is(
    found: list[RowRuns], values: dict[str, Measured], small_npz: str
) -> None:
    assert tuple(values) == PREDICTORS
    data, (compact, dense, *_) = load_cached(small_npz), found
    alone = [bp.load(record.folder) for record in compact.records if record.folder is not None]
    for predictor, pruned in (("compact network", alone[0]), ("dense network", bp.load(str(dense.records[0].folder)))):
        quality = pruned.evaluate(data)
        shown = values[predictor]
        assert (shown.accuracy, shown.macs) == (quality.accuracy, quality.macs)
        assert shown.nll == pytest.approx(quality.nll) and shown.brier == pytest.approx(quality.brier)
        shift = pruned.out_of_distribution(turned(data), data)
        assert shown.auroc == pytest.approx(shift.auroc) and shown.auroc_max == shift.max_probability.auroc
    assert values["restarts"].nll == pytest.approx(as_restarts(alone).evaluate_ensemble(data).nll)
    assert float(values["restarts"].losses.mean()) == pytest.approx(values["restarts"].nll, rel=1e-5)
    assert len(values["restarts"].losses) == len(data.test)
    assert values["restarts"].macs == sum(one.evaluation.macs for one in alone)
    assert (values["restarts"].networks, values["deep ensemble"].networks, values["MC dropout"].networks) == (2, 2, 3)
    assert values["Gibbs draws"].macs == 50 * alone[0].evaluation.macs


def test_pages_and_numbers_are_written(found: list[RowRuns], tmp_path: Path) -> None:
    findings = paper("uncertainty").evaluate(found)
    values = write_results("uncertainty", findings, found, tmp_path)
    assert plain_json(values)["other_data"] == "the same test images, turned by a right angle"
    assert {path.name for path in tmp_path.iterdir()} == {
        "uncertainty.html", "tables.md", "results.json", "uncertainty-nll.png", "uncertainty-auroc.png"
    }  # fmt: skip
    page = (tmp_path / "tables.md").read_text()
    assert all(f"| {predictor} |" in page for predictor in PREDICTORS)
    assert len(findings.lines) == 3


def test_verdicts_pair_repeats_and_count_costs() -> None:
    def one(predictor: str, repeat: int, macs: int, nll: float, auroc: float) -> Measured:
        losses = nll + torch.tensor([-0.1, 0.0, 0.1]) * (macs % 2)
        return Measured(predictor, repeat, 1, macs, 0.9, nll, 0.1, 0.1, auroc, auroc, 0.01, losses)

    dense = [one("dense network", 0, 100, 0.5, 0.9), one("dense network", 1, 100, 0.3, 0.8)]
    together = [one("restarts", 0, 90, 0.3, 0.85), one("restarts", 1, 99, 0.4, 0.84)]
    nll, auroc = targets([*dense, *together])
    assert nll.verdict == "reached" and "better by +0.0500 (+0.2000, " in nll.measured
    # The losses of the second pair differ by 0.1 + (-0.1, 0, 0.1): a deviation of 0.1 over three images.
    assert "standard error over images 0.0000; -0.1000, standard error over images 0.0577) at 99 of 100" in nll.measured
    assert auroc.verdict == "MISSED" and "-0.0050 (-0.0500; +0.0400)" in auroc.measured
    dear = replace(together[0], macs=101)
    assert [target.verdict for target in targets([*dense, dear])] == ["MISSED", "MISSED"]
    assert [target.verdict for target in targets(dense)] == ["not measured", "not measured"]


def test_turned_images_are_the_raw_ones_by_a_right_angle(small_npz: str) -> None:
    data = load_cached(small_npz)
    inputs, _ = next(iter(data.test.batches(1000)))
    other, name = other_data(data)
    assert name == "the same test images, turned by a right angle"
    torch.testing.assert_close(data.normalisation.apply(other), inputs.transpose(2, 3).flip(2))


def test_records_without_a_folder_have_no_network(found: list[RowRuns]) -> None:
    lost = [replace(one, records=tuple(replace(record, folder=None) for record in one.records)) for one in found]
    with pytest.raises(StoreError, match="has no folder to load its network from"):
        measured(lost)
    assert measured([]) == ([], "")
