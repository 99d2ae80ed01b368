"""The order in which a report shows the runs of a folder, whose names are hashes."""

from collections.abc import Callable
from pathlib import Path

from bayesprune.experiments.commands.report import in_order
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


def test_dense_comes_first_then_ours_by_price_then_the_others(make_run: MakeRun) -> None:
    expected = [
        *(make_run("dense", seed) for seed in (0, 1)),
        *(make_run("parsimonious", seed, settings={"price": price}) for price in (0.2, 2.0, 10.0) for seed in (0, 1)),
        *(make_run("magnitude", 0, settings={"density": density}) for density in (0.05, 0.5)),
        make_run("random", 0),
        make_run("dense", 0, network="lenet5"),
    ]
    folders = [run.folder for run in expected if run.folder is not None]
    assert in_order(sorted(folders)) == in_order(list(reversed(folders))) == folders
    assert in_order([Path(folder) for folder in folders[:1]]) == folders[:1]
