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
