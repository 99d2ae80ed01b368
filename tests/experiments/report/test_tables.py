"""Tables by hand."""

from collections.abc import Callable

from bayesprune.experiments.configurations import configurations
from bayesprune.experiments.report.tables import gates_table, layer_table, runs_table, settings_tables, summary_table
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


def layer(name: str, now: tuple[int, ...], dense: tuple[int, ...]) -> dict[str, object]:
    keys = ("inputs", "outputs", "params", "macs", "weights")
    row: dict[str, object] = {"name": name, "kind": "Linear"}
    row |= dict(zip(keys, now, strict=True)) | {"nonzero_weights": now[-1] and now[-1] - 1}
    return row | {f"dense_{key}": value for key, value in zip(keys, dense, strict=True)}


def test_layers_show_what_is_kept_and_the_share_of_dense(make_run: MakeRun) -> None:
    run = make_run("dense")
    run.layers[:] = [
        layer("fc1", (2, 3, 9, 6, 6), (4, 6, 30, 24, 24)),
        layer("fc2", (3, 10, 40, 30, 30), (6, 10, 70000, 60000, 60000)),
        layer("bn", (3, 3, 6, 0, 0), (6, 6, 12, 0, 0)),
    ]
    run.layers[0]["fed_outputs"] = 2  # folders of earlier versions do not tell
    table = layer_table(run, "dense")
    assert table.rows[0] == ("fc1", "Linear", "2 / 4", "3 / 6", "2", "5 / 24", "9", "30.0 %", "6", "25.0 %")
    assert table.rows[1][4:] == ("-", "29 / 60,000", "40", "0.1 %", "30", "0.1 %")
    assert table.rows[2][4:] == ("-", "0 / 0", "6", "50.0 %", "0", "-")
    assert len(table.total) == len(table.headings)
    assert table.total == ("all layers", "", "", "", "", "34 / 60,024", "55", "0.1 %", "36", "0.1 %")
    del run.layers[0]["nonzero_weights"]  # a folder of an earlier version
    assert layer_table(run, "dense").rows[0][5] == "-" == layer_table(run, "dense").total[5]
    run.layers[1]["macs"] = 29
    assert layer_table(run, "dense").rows[1][-1] == "< 0.1 %"


def test_shared_settings_stand_apart_from_differing_ones(make_run: MakeRun) -> None:
    runs = [
        make_run("dense", 0, settings={"keep": ["fc2"], "price": None}),
        make_run("random", 0, settings={"keep": ["fc2"], "density": 0.1}),
    ]
    shared, differing, versions = settings_tables(configurations(runs))
    assert ("keep", '["fc2"]') in shared.rows
    assert ("network", "lenet300") in shared.rows
    assert ("price", "-") in shared.rows
    assert differing.headings == ("run", "method", "density")
    assert differing.rows == (("dense, seed 0", "dense", "-"), ("random, seed 0", "random", "0.1"))
    assert versions.caption == "Versions that all runs share"
    assert ("torch", "2.13.0") in versions.rows


def test_a_single_run_shares_its_settings_with_nobody(make_run: MakeRun) -> None:
    captions = [table.caption for table in settings_tables(configurations([make_run("dense")]))]
    assert captions == ["Settings of the run", "Versions of the run"]


def test_every_run_has_a_row_and_every_row_as_many_cells(make_run: MakeRun) -> None:
    runs = [make_run(method, seed) for method in ("dense", "parsimonious") for seed in (0, 1)]
    table = runs_table(configurations(runs), runs)
    assert [row[:2] for row in table.rows] == [
        ("dense", "0"), ("dense", "1"), ("parsimonious", "0"), ("parsimonious", "1"),
    ]  # fmt: skip
    assert {len(row) for row in table.rows} == {len(table.headings)}
    assert [row[-1] for row in table.rows] == [run.id for run in runs]
    place = table.headings.index("gates closed by their price")
    assert [row[place : place + 3] for row in table.rows] == [("-",) * 3] * 4  # no run says why gates were closed


def test_gates_are_counted_by_what_happened_to_them(make_run: MakeRun) -> None:
    ends = {"inputs": (0, 1, 1, 2, 3), "fc1": (0, 0, 3)}
    run = make_run("parsimonious", sizes={"inputs": 5, "fc1": 3}, ends=[*ends["inputs"], *ends["fc1"]])
    table = gates_table(run, "gates")
    assert table is not None
    assert table.headings[1:] == (
        "gates", "stay open", "gates closed by their price", "gates closed at the end", "gates closed for the budget",
    )  # fmt: skip
    assert table.rows == (("inputs", "5", "1", "2", "1", "1"), ("fc1", "3", "2", "0", "0", "1"))
    assert table.total == ("all groups", "8", "3", "2", "1", "2")
    assert runs_table(configurations([run]), [run]).rows[0][-4:-1] == ("2", "1", "2")
    assert gates_table(make_run("dense"), "gates") is None


def test_a_run_that_warns_is_marked(make_run: MakeRun) -> None:
    runs = [make_run("parsimonious", 0), make_run("parsimonious", 1, warnings=["it collapsed"]), make_run("dense")]
    assert [row[0] for row in summary_table(runs).rows] == ["parsimonious\N{NO-BREAK SPACE}!", "dense"]
    assert [row[0] for row in runs_table(configurations(runs), runs).rows] == [
        "parsimonious", "parsimonious\N{NO-BREAK SPACE}!", "dense",
    ]  # fmt: skip


def test_counts_on_which_all_seeds_agree_have_no_spread(make_run: MakeRun) -> None:
    table = summary_table([make_run("dense", 0, params=266_610), make_run("dense", 1, params=266_610)])
    assert table.rows[0][table.headings.index("parameters")] == "266,610"
    assert "±" in table.rows[0][table.headings.index("accuracy %")]
