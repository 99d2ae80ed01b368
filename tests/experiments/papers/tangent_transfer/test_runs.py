"""The plan of the study of tangent transfer, against the notes on the authors' notebooks by hand."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from bayesprune.data import Data, from_tensors, known, load
from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.experiments.jobs import phase_steps
from bayesprune.experiments.methods import method
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.rows import Row, jobs_of
from bayesprune.experiments.papers.tangent_transfer import runs
from bayesprune.models import LeNet300
from bayesprune.run.running import initial_state
from bayesprune.training.initial import glorot

STUDY = paper("tangent-transfer")
EVERY = [*STUDY.rows(), *STUDY.rows("lenet5-full")]
ROWS = {(row.factor, row.value): row for row in EVERY}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The data sets that transfers ask for; the bundled digits stand for all of them."""
    names: list[str] = []

    def digits(name: str) -> Data:
        names.append(name)
        return load("mnist5k")

    monkeypatch.setattr("bayesprune.tangent.method.load", digits)
    return names


def test_the_full_transfer_of_lenet5_is_made_only_where_it_is_asked_for() -> None:
    assert {row.factor.split(":")[0] for row in STUDY.rows()} == {"lenet300", "lenet5", "transfer"}
    full = STUDY.rows("lenet5-full")
    assert [row.value for row in full] == [runs.NTT, runs.RANDOM, runs.UNIFORM]
    assert {(row.network, row.settings.epochs, row.seeds) for row in full} == {("lenet5", 50, (0, 1))}
    assert full[0].settings.options["steps"] == 18_720 and full[0].settings.options["transfer_batch"] == 64
    assert [row for part in ("lenet300", "lenet5", "transfer") for row in STUDY.rows(part)] == STUDY.rows()
    with pytest.raises(UnknownNameError, match="there are all, lenet300, lenet5, lenet5-full, transfer"):
        STUDY.rows("lenet5-ful")


def test_lenet300_is_trained_as_in_the_notebooks() -> None:
    rows = STUDY.rows("lenet300")
    assert {(row.network, row.settings.data) for row in rows} == {("lenet300", "mnist")}
    assert {(row.settings.epochs, row.settings.batch_size) for row in rows} == {(50, 64)}
    assert {row.settings.options["training"] for row in rows} == {"adam"}
    assert {row.settings.density for row in rows if row.value != "dense"} == {0.03}
    assert {row.settings.options["initial"] for row in rows if row.value != "dense"} == {"glorot"}
    transfers = [row for row in rows if row.settings.method == "ntt"]
    assert {row.settings.options["masks"] for row in transfers} == {"released"}
    steps = Counter(row.settings.options["steps"] for row in transfers)
    assert steps == {18_720: 4, 5_000: 2, 2_000: 1}
    assert {row.settings.options["transfer_batch"] for row in transfers} == {64}
    one = {row.value for row in rows if row.seeds == (0,)}
    assert one == {"ntt, short", "ntt, short, projected", "ntt, shortest"}
    assert {row.value for row in rows if row.seeds == (0, 1, 2)} == {
        "ntt", "ntt, shuffle", "ntt, shuffle-inputs", "ntt, fresh", runs.RANDOM, runs.UNIFORM, "magnitude",
        "logit-snip", "snip", "dense",
    }  # fmt: skip


@pytest.mark.parametrize("row", EVERY, ids=lambda row: f"{row.factor}, {row.value}")
def test_every_job_is_accepted(row: Row, asked: list[str]) -> None:
    """mnist5k has 3,500 training images: 55 batches of 64."""
    for job in row.on("mnist5k").jobs()[:1]:
        options, epochs = job.settings.options, job.settings.epochs
        assert epochs is not None
        training = {"train" if row.value == "dense" else "fixed": 55 * epochs}
        transfer = {"transfer": options["steps"]} if "steps" in options else {}
        assert phase_steps(job) == transfer | training
    other = row.settings.options.get("transfer_data")
    assert asked == ([] if other is None else [other]) and set(asked) <= set(known())


def test_each_data_set_is_trained_on_after_transfer_on_the_other() -> None:
    rows = STUDY.rows("transfer")
    found = {(row.settings.data, row.settings.options.get("transfer_data"), row.settings.method) for row in rows}
    assert found == {
        ("mnist", "fashion-mnist", "ntt"), ("mnist", None, "ntt"), ("mnist", None, "magnitude"),
        ("fashion-mnist", "mnist", "ntt"), ("fashion-mnist", None, "ntt"), ("fashion-mnist", None, "magnitude"),
    }  # fmt: skip
    assert {(row.settings.epochs, row.seeds, row.network) for row in rows} == {(20, (0,), "lenet300")}
    assert {row.settings.options.get("steps") for row in rows} == {5_000, None}


def test_other_steps_are_those_of_every_transfer() -> None:
    rows = STUDY.rows(steps=1_000)
    assert {row.settings.options["steps"] for row in rows if row.settings.method == "ntt"} == {1_000}
    # The shorter transfers differ from others in nothing but their steps; the projected kernel's still does.
    left_out = {"ntt, short", "ntt, shortest"}
    assert {row.value for row in STUDY.rows()} - {row.value for row in rows} == left_out
    assert len(rows) == len(STUDY.rows()) - 2
    (ours,) = [row for row in rows if (row.factor, row.value) == ("lenet300", "ntt")]
    assert ours.seeds == (0, 1, 2)
    for part, steps in (("lenet5", 7), ("lenet5-full", 9)):
        assert STUDY.rows(part, steps=steps, quick=True)[0].settings.options["steps"] == steps


def test_other_studies_have_no_such_steps() -> None:
    with pytest.raises(SettingError, match="study of parsimonious has no transfer.*leave out steps=300"):
        paper("parsimonious").rows(steps=300)
    with pytest.raises(SettingError, match="steps must be an integer >= 1"):
        STUDY.rows(steps=0)


def test_the_quick_study_has_every_kind_of_row_on_the_bundled_digits() -> None:
    rows = STUDY.rows(quick=True)
    kinds = {(row.factor, row.value) for row in STUDY.rows()}
    assert kinds - {(row.factor, row.value) for row in rows} == {
        ("transfer: fashion-mnist", value) for value in (runs.FOREIGN, runs.OWN, runs.RANDOM)
    }
    for job in jobs_of(rows):
        settings = job.settings
        assert settings.data == "mnist5k" and settings.options.get("transfer_data") in (None, "mnist5k")
        assert (settings.epochs or 0) <= 4 and settings.options.get("steps", 0) <= 50
    assert len(jobs_of(rows)) <= 20


def tiny_run(row: Row, data: Data) -> dict[str, torch.Tensor]:
    """The weights with which a row's last phase begins, before any step of its first."""
    settings = replace(row.settings, epochs=1, density=0.2)
    state = initial_state(LeNet300((12, 8)), data, settings)
    plan = method(settings.method).plan(state, data, settings)
    torch.manual_seed(5)
    for phase in plan.phases:
        assert phase.start is not None
        phase.start(state)
    masks = state.masks
    return {name: value[masks[name] == 1] for name, value in state.network.named_parameters() if name in masks}


def test_runs_of_a_seed_begin_with_the_same_weights() -> None:
    """Where a mask keeps a weight it is the one that Glorot's draw gave it, whatever chose the mask."""
    torch.manual_seed(0)
    data = from_tensors(torch.rand(60, 1, 28, 28), torch.arange(60) % 10, classes=10)
    torch.manual_seed(5)
    drawn = LeNet300((12, 8))
    torch.manual_seed(5)
    glorot(drawn)
    usual = {name: set(value.flatten().tolist()) for name, value in drawn.named_parameters()}
    names = (runs.NTT, runs.RANDOM, runs.UNIFORM, "magnitude", "snip", "logit-snip")
    for name in names:
        kept = tiny_run(ROWS["lenet300", name], data)
        assert len(kept) == 3 and all(len(values) > 3 for values in kept.values())
        assert all(set(values.tolist()) <= usual[layer] for layer, values in kept.items()), name
