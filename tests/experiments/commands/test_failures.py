"""Runs that go wrong half-way: what was finished stays, what went wrong is one line."""

import errno
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

import bayesprune as bp
from bayesprune.errors import DivergenceError
from bayesprune.store import atomic
from bayesprune.store.tree import load_tree
from bayesprune.training.loop import _Loop

SHORT = ("--epochs", 3, "--widths", 12, 6, "--batch-size", 20)


@pytest.mark.parametrize("method", ["dense", "parsimonious"])
def test_a_loss_that_is_no_number(method: str, command: Any, small_data: str, tmp_path: Path) -> None:
    flags = ("--method", method, "--learning-rate", "1e30", "--data", small_data, *SHORT)
    outcome = command("prune", *flags)
    assert (outcome.status, outcome.out) == (2, "")
    message = outcome.err.splitlines()[-1]
    # The rate is the step's own, which a schedule may have lowered a little.
    assert re.match(
        r"bayesprune: the loss is not finite at step [1-9] with learning rate (1e\+30|9\.\d+e\+29);", message
    )
    assert "; the last good state is runs/" in message and "; try a smaller learning rate" in message
    (checkpoint,) = (tmp_path / "runs").glob("*/checkpoint.safetensors")
    assert f"is {checkpoint.relative_to(tmp_path)};" in message
    state = load_tree(checkpoint)
    assert all(bool(value.isfinite().all()) for value in state["network"].values())
    assert not (checkpoint.parent / "run.json").exists()

    data = bp.load_data(small_data)
    network = bp.models.LeNet300(widths=(12, 6), input_shape=(1, 8, 8), classes=3)
    with pytest.raises(DivergenceError) as caught:
        bp.prune(network, data, method=method, learning_rate=1e30, epochs=3, batch_size=20)
    assert caught.value.learning_rate == pytest.approx(1e30, rel=0.1) and caught.value.last_good is None


def test_one_run_of_several_that_goes_wrong_keeps_the_others(command: Any, small_data: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        f'data = "{small_data}"\nepochs = 1\nwidths = [12, 6]\nseeds = 1\nmethods = ["dense"]\n'
        "learning_rate = [1e-3, 1e30]\n"
    )
    outcome = command("study", "study.toml", "--workers", 1)
    assert outcome.status == 2
    assert "not finite at step" in outcome.err.splitlines()[-1]
    (finished,) = (tmp_path / "runs").glob("*/run.json")
    assert json.loads(finished.read_text())["settings"]["learning_rate"] == 1e-3


@pytest.mark.parametrize("writes", [1, 2, 3, 4])
def test_a_disk_that_is_full(
    writes: int, command: Any, small_data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full from the n-th write on: the checkpoint, then the files of the finished run."""
    write, count = atomic._write_through, [0]

    def full(path: Path, data: bytes) -> None:
        count[0] += bool(data)
        if count[0] >= writes:
            path.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(atomic, "_write_through", full)
    outcome = command("prune", "--data", small_data, *SHORT, "--json")
    assert (outcome.status, outcome.out) == (2, "")
    message = outcome.err.splitlines()[-1]
    assert message.startswith("bayesprune: cannot write runs/") and "No space left on device" in message
    assert message.endswith("free some space there or choose a folder on another disk")
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert "run.json" not in left and not [name for name in left if name.endswith(".tmp")]
    monkeypatch.setattr(atomic, "_write_through", write)
    assert command("prune", "--data", small_data, *SHORT).status == 0


@pytest.mark.parametrize(("step", "flag"), [(1, ()), (7, ()), (13, ("--resume",))])
def test_ctrl_c_keeps_the_state_and_the_same_command_goes_on_to_the_same_numbers(
    step: int, flag: tuple[str, ...], command: Any, small_data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--data", small_data, *SHORT)
    undisturbed = json.loads(command("prune", *flags, "--out", "undisturbed", "--json").out)["runs"][0]
    after = _Loop._after_step

    def interrupted(self: _Loop, *arguments: Any) -> None:
        if self.state.step == step:
            signal.raise_signal(signal.SIGINT)
        after(self, *arguments)

    monkeypatch.setattr(_Loop, "_after_step", interrupted)
    outcome = command("prune", *flags, "--json")
    assert (outcome.status, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == (
        "bayesprune: interrupted; finished runs are kept, and the same command goes on"
    )
    (checkpoint,) = (tmp_path / "runs").glob("*/checkpoint.safetensors")
    assert load_tree(checkpoint)["counters"]["step"] == step

    steps: list[int] = []

    def counted(self: _Loop, *arguments: Any) -> None:
        steps.append(self.state.step)
        after(self, *arguments)

    monkeypatch.setattr(_Loop, "_after_step", counted)
    resumed = json.loads(command("prune", *flags, *flag, "--json").out)["runs"][0]
    assert steps == list(range(step + 1, 16))
    measured = {"latency_ms", "train_seconds"}
    assert {k: v for k, v in resumed.items() if k not in measured} == {
        k: v for k, v in undisturbed.items() if k not in measured
    }
    assert not checkpoint.exists()


def test_fresh_starts_an_interrupted_run_anew(
    command: Any, small_data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after, steps = _Loop._after_step, []

    def interrupted(self: _Loop, *arguments: Any) -> None:
        steps.append(self.state.step)
        if len(steps) == 7:
            signal.raise_signal(signal.SIGINT)
        after(self, *arguments)

    monkeypatch.setattr(_Loop, "_after_step", interrupted)
    assert command("prune", "--data", small_data, *SHORT).status == 130
    assert command("prune", "--data", small_data, *SHORT, "--fresh").status == 0
    assert steps == [*range(1, 8), *range(1, 16)]


def test_what_the_system_refuses_is_one_line(
    command: Any, small_data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no error of our own was thought of."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "runs/report.html")

    monkeypatch.setattr("bayesprune.experiments.commands.shared.write_report", refuse)
    outcome = command("prune", "--data", small_data, *SHORT)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1] == "bayesprune: [Errno 5] Input/output error: 'runs/report.html'"


def test_a_working_folder_that_is_gone(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert command("data", "--json").status == 0


def test_a_report_or_picture_that_cannot_be_written(command: Any, small_data: str, tmp_path: Path) -> None:
    assert command("prune", "--data", small_data, *SHORT).status == 0
    (tmp_path / "file").write_text("mine")
    cases = (
        ("report", "runs", "--out", "file/page.html"),
        ("posterior", "runs", "--plot", "file/gates.png"),
        ("posterior", "runs", "--netcdf", "file/draws.nc"),
    )
    for arguments in cases:
        outcome = command(*arguments)
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1), arguments
        assert "bayesprune: cannot write file" in outcome.err
    assert command("posterior", "runs", "--plot", "gates.jpg").err.startswith("bayesprune: gates.jpg has the suffix")
    assert command("posterior", "runs", "--draws", 2).err == (
        "bayesprune: draws is 2: a summary needs at least 4 a chain\n"
    )
    assert (tmp_path / "file").read_text() == "mine"
