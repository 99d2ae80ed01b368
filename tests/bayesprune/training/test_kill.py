"""Runs on real digits in processes of their own, killed and interrupted as happens in life."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bayesprune.store.tree import load_tree

SCRIPT = """
import hashlib, os, signal, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore", UserWarning)  # so few steps are warned of
import torch
torch.set_num_threads(1)
from bayesprune.data import load
from bayesprune.experiments.methods import METHODS
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.running import initial_network, run
from bayesprune.run.settings import RunSettings
from bayesprune.training import Checkpointer
import bayesprune.models

file, action, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def progress(now):
    if now.step != at:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    print(now.step, flush=True)
    while action == "hang":
        time.sleep(0.05)
    while action == "wait" and not file.with_name("go").exists():
        time.sleep(0.05)

class Torn:
    # The process dies while it saves a state: the new file is written, but not in its place yet.
    saves, really = 0, os.replace

    def replace(self, source, target):
        self.saves += 1
        if self.saves == at:
            os.kill(os.getpid(), signal.SIGKILL)
        type(self).really(source, target)

if action == "tear":
    os.replace = Torn().replace

settings = RunSettings("parsimonious", epochs=6, options={"horizon": 40, "shrink_every": 10, "prune_share": 0.5})
pruned = run(
    METHODS["parsimonious"], initial_network(NetworkSpec("lenet300", {}), 0), load("mnist5k"), settings,
    checkpointer=Checkpointer(file, steps=4), progress=progress,
)
digest = hashlib.sha256()
for name, value in pruned.network.state_dict().items():
    digest.update(f"{name} {list(value.shape)}".encode() + value.numpy().tobytes())
print(digest.hexdigest(), pruned.kept, pruned.result()["macs"], flush=True)
"""
STEPS = 6 * 35

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(repository: Path, tmp_path: Path) -> Start:
    """Starts the script: a file for the state, what to do, and at which step."""
    (tmp_path / "script.py").write_text(SCRIPT)
    path = os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def begin(file: str = "state", action: str = "none", at: int = 0) -> "subprocess.Popen[str]":
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / file), action, str(at)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)

    return begin


@pytest.mark.long
def test_killed_at_five_random_steps_it_ends_as_undisturbed(start: Start, tmp_path: Path) -> None:
    whole, err = start("whole").communicate(timeout=300)
    assert err == "" and int(whole.split()[-1]) < 200_000  # of 266,200: it shrank
    for step in sorted(random.Random(0).sample(range(2, STEPS), 5)):  # noqa: S311 - any five steps do
        process = start("state", "kill", step)
        out, err = process.communicate(timeout=300)
        assert (process.returncode, out, err) == (-signal.SIGKILL, "", "")
        assert load_tree(tmp_path / "state")["counters"]["step"] == (step - 1) // 4 * 4
    resumed, err = start("state").communicate(timeout=300)
    assert err == "" and resumed == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script.py", "state", "whole"]


@pytest.mark.long
def test_killed_while_it_saves_the_last_good_state_is_there(start: Start, tmp_path: Path) -> None:
    process = start("state", "tear", 20)  # the first of all saves is that of step 0
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert load_tree(tmp_path / "state")["counters"]["step"] == 18 * 4
    whole, _ = start("whole").communicate(timeout=300)
    resumed, err = start("state").communicate(timeout=300)
    assert err == "" and resumed == whole


@pytest.mark.long
def test_ctrl_c_ends_it_with_the_state_of_that_step(start: Start, tmp_path: Path) -> None:
    whole, _ = start("whole").communicate(timeout=300)
    process = start("state", "wait", 50)
    assert process.stdout is not None
    assert process.stdout.readline() == "50\n"
    process.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT and out == "" and err.endswith("KeyboardInterrupt\n")
    assert load_tree(tmp_path / "state")["counters"]["step"] == 50
    resumed, _ = start("state").communicate(timeout=300)
    assert resumed == whole


@pytest.mark.long
def test_a_second_ctrl_c_ends_a_step_that_does_not(start: Start, tmp_path: Path) -> None:
    process = start("state", "hang", 50)
    assert process.stdout is not None
    assert process.stdout.readline() == "50\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert load_tree(tmp_path / "state")["counters"]["step"] == 48
