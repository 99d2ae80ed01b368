"""The plan of the pruning experiments, against the note's table by hand."""

from collections import Counter

import pytest

from bayesprune.data import load
from bayesprune.errors import SettingError
from bayesprune.experiments.jobs import phase_steps
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.hidden_structures.runs import BEFORE, LEAST, LONGER, WEIGHTS, part_of
from bayesprune.experiments.papers.rows import jobs_of
from bayesprune.models import MLP, LeNet300
from bayesprune.structure import weights_of

STUDY = paper("hidden-structures")


def count(prefix: str, repeats: int | None = None) -> int:
    """How many runs the experiments have whose factor begins so."""
    rows = STUDY.rows("pruning", repeats=repeats)
    return sum(len(row.seeds) for row in rows if row.factor.startswith(prefix))


def test_weights_are_those_of_the_networks() -> None:
    for name, network in (("mlp", MLP()), ("lenet300", LeNet300())):
        assert sum(weight.numel() for weight in weights_of(network).values()) == WEIGHTS[name]
    assert LEAST == {"mlp": 500, "lenet300": 2_000}


def test_as_many_runs_as_methods_rates_and_repeats() -> None:
    # 4 networks x 5 methods x 5 rates; 5 x 3 rates x fixed and variable; 5 x 3 counts; 6 x 3 shares; 5 x 3 rates.
    expected = {"1: ": 100, "2: ": 30, "3: ": 15, "5: ": 15, "dropout": 5, "weight decay": 4}
    assert {prefix: count(prefix) for prefix in expected} == {prefix: 2 * n for prefix, n in expected.items()}
    # One step is quickly made: five repeats at least.
    assert (count("4: "), count(LONGER)) == (5 * 18, 5 * 4)
    assert (count("4: ", repeats=25), count(LONGER, repeats=25)) == (25 * 18, 25 * 4)
    assert count("1: ", repeats=25) == 2_500 and count("dense") == count("dense", repeats=25) == 5
    with pytest.raises(SettingError, match="repeats must be an integer >= 1"):
        STUDY.rows(repeats=-1)
    with pytest.raises(SettingError, match="repeats must be an integer >= 1"):
        STUDY.rows(repeats=0)
    with pytest.raises(SettingError, match="study of parsimonious has its seeds: leave out repeats=3"):
        paper("parsimonious").rows(repeats=3)


def test_every_pruned_run_begins_with_a_network_of_the_study() -> None:
    rows = STUDY.rows("pruning")
    jobs = jobs_of(rows)
    dense = [job.settings for job in jobs if job.settings.method == "dense" and job.start is None]
    begun = [job for job in jobs if job.start is not None]
    assert len(begun) == 2 * (100 + 30 + 15 + 15) + 5 * (18 + 4)
    assert all(job.start in dense and job.settings.options["prune_share"] == 0.0 for job in begun)
    assert all(job.start.network == job.settings.network for job in begun if job.start is not None)
    starts = Counter(job.start.seed for job in begun if job.start is not None and job.settings.network == "mlp")
    assert starts[1] == starts[2] == starts[3] == 50
    assert {row.settings.data for row in rows} == {"mnist@10000"}
    assert {(row.settings.batch_size, row.settings.options["training"]) for row in rows} == {(64, "plain")}


def test_methods_before_training_and_their_controls() -> None:
    rows = STUDY.rows(BEFORE)
    assert {part_of(row) for row in rows} == {BEFORE} and all(len(row.seeds) == 3 for row in rows)
    assert max(row.settings.epochs or 0 for row in rows) <= 40
    values = [row.value for row in rows if row.network == "lenet300"]
    for method in ("snip", "logit-snip", "grasp", "synflow"):
        wanted = {f"{method}, 5%", f"{method}, 2%", f"{method}, 2%, shuffle", f"{method}, 2%, fresh"}
        assert wanted <= set(values)
    assert [row.value for row in rows if row.network == "lenet5"] == ["snip, 2%"]


def test_the_quick_study_is_short_and_begins_with_its_own_networks() -> None:
    rows = STUDY.rows(quick=True)
    jobs = jobs_of(rows)
    assert 20 <= len(jobs) <= 40
    dense = [job.settings for job in jobs if job.settings.method == "dense" and job.start is None]
    assert all(job.start in dense for job in jobs if job.start is not None)
    assert {job.settings.data for job in jobs} == {"mnist5k"}
    whole = {row.factor for row in STUDY.rows()} - {f"2: {row.factor[3:]}" for row in STUDY.rows()}
    # Every experiment but the second is there; of the fifth one method.
    assert {row.factor.split(":")[0] for row in rows} == {factor.split(":")[0] for factor in whole}


def test_rounds_end_at_the_fewest_weights() -> None:
    assert load("mnist5k").name == "mnist5k"
    by_value = {(row.factor, row.value): row.jobs()[0] for row in STUDY.rows(quick=True)}
    steps = phase_steps(by_value["1: magnitude", "70%, net 0"])
    # 79,400 x 0.3^r: 23,820, 7,146, 2,144, 643, 193: five rounds, the last ends at 500. 2 epochs of 55 batches each.
    assert steps == {f"round {n}": 110 for n in range(1, 6)}
    steps = phase_steps(by_value["3: magnitude", "10,000 weights"])
    assert len(steps) == 8  # 78,900 / 10,000
    assert phase_steps(by_value["4: magnitude", "80 %"]) == {"round 1": 25 * 55}
