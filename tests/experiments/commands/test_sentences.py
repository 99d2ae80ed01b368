"""The sentence about one run, where its masks have cut classes off."""

from collections.abc import Callable

from bayesprune.experiments.commands.sentences import sentence_about
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


def test_operations_that_cannot_be_pruned_are_told(make_run: MakeRun) -> None:
    run = make_run("snip")
    assert "cannot be pruned" not in sentence_about([run])  # a folder of an earlier version
    run.result["unattributed_macs"] = 1234
    assert "MACs a sample (1,234 of them in operations that cannot be pruned), " in sentence_about([run])
    run.layers[-1]["fed_outputs"] = 7
    run.layers.append(run.layers[-1] | {"name": "(other)", "kind": "unattributed", "outputs": 0, "fed_outputs": 0})
    assert "no weight left in layer 'out'" in sentence_about([run])


def test_classes_without_a_weight_are_told(make_run: MakeRun) -> None:
    run = make_run("snip")
    assert "no weight left" not in sentence_about([run])  # a folder of an earlier version
    run.layers[-1]["fed_outputs"] = 10
    assert "no weight left" not in sentence_about([run])
    run.layers[-1]["fed_outputs"] = 7
    assert "3 of its 10 classes have no weight left in layer 'out'" in sentence_about([run])
    run.layers[-1]["outputs"] = 12  # a layer that does not write the classes
    assert "no weight left" not in sentence_about([run])


def test_layers_that_could_lose_nothing_are_told_where_channels_went(make_run: MakeRun) -> None:
    for method, told in (("l1-units", True), ("dense", False)):
        run = make_run(method)
        run.whole.update({"fc1": "named in keep", "out": "its channels are outputs of the network"})
        assert "lose no channel" not in sentence_about([run])
        run.whole["fc1"] = "it is never run"
        said = "Layers that could lose no channel: fc1 (it is never run)."
        assert sentence_about([run]).endswith(said) == told


def test_the_end_of_every_gate_is_told(make_run: MakeRun) -> None:
    sizes = {"inputs": 5, "fc1": 3}
    run = make_run("parsimonious", sizes=sizes, ends=[0, 1, 1, 2, 3, 0, 0, 3])
    assert sentence_about([run]).endswith(
        "Of 8 gates 3 stay open; 2 closed during training because they were worth less than their price, 1 closed when "
        "pruning ended, worth less than their price then and 2 closed to meet the budget."
    )
    run = make_run("parsimonious", sizes=sizes, ends=[0] * 8, reopened=1)
    assert sentence_about([run]).endswith(
        "Of 8 gates 8 stay open. 1 gate that had nearly closed stayed open: worth more than the price."
    )


def test_gates_of_a_run_in_multiples_have_one_more_reason(make_run: MakeRun) -> None:
    settings = {"options": {"round_to": 4}}
    run = make_run("parsimonious", sizes={"fc1": 6}, ends=[0, 0, 0, 0, 2, 2], reopened=1, settings=settings)
    assert sentence_about([run]).endswith(
        "Of 6 gates 4 stay open; 2 closed when pruning ended, worth less than their price then or beyond a multiple of "
        "4. 1 gate that had nearly closed stayed open: worth more than the price or needed for a multiple of 4."
    )


def test_runs_of_older_versions_tell_how_many_gates_were_undecided(make_run: MakeRun) -> None:
    assert sentence_about([make_run("parsimonious", decided_at_end=4)]).endswith(
        "4 of 30 gates were still undecided when pruning ended; each was then opened or closed, whichever was more "
        "probable."
    )
    assert sentence_about([make_run("parsimonious", decided_at_end=0)]).endswith(
        "Each of the 30 gates was open or closed when pruning ended."
    )
    assert sentence_about([make_run("dense")]).endswith("100 % of the dense network's.")
    assert sentence_about([make_run("ensemble", members=3)]).endswith("83.9 % of the dense network's.")


def test_runs_of_several_settings_are_counted(make_run: MakeRun) -> None:
    runs = [make_run("parsimonious", seed, settings={"price": price}) for price in (1.0, 2.0) for seed in (0, 1)]
    assert sentence_about(runs).startswith("4 runs of parsimonious with 2 different settings, lenet300 on mnist5k: ")
    assert sentence_about(runs[:2]).startswith("2 runs of parsimonious, lenet300 on mnist5k: accuracy ")
