"""One run: what is refused before it starts, what is left alone, how it is evaluated."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bayesprune.data import Data, from_tensors
from bayesprune.errors import NetworkError, PruningWarning, SettingError, StoreError
from bayesprune.evaluation.evaluate import evaluate
from bayesprune.experiments.methods import METHODS
from bayesprune.models import LeNet300
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import check_request, initial_network, initial_state, run
from bayesprune.run.settings import RunSettings
from bayesprune.store.tree import load_tree
from bayesprune.training import Checkpointer, Progress

SPEC = NetworkSpec("lenet300", {"widths": [12, 8], "input_shape": [1, 6, 6], "classes": 3})


def settings(**changes: Any) -> RunSettings:
    plain: dict[str, Any] = {"method": "dense", "epochs": 2, "batch_size": 50}
    return RunSettings(**plain | changes)


def run_dense(network: nn.Module, data: Data, **changes: Any) -> Pruned:
    return run(METHODS["dense"], network, data, settings(**changes))


class Fixed(nn.Module):
    """Gives whatever it is told to."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.fc, self.outputs = nn.Linear(36, 3), outputs

    def forward(self, inputs: Tensor) -> Any:
        return self.outputs(self.fc(inputs.flatten(1)))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(5, 3), r"cannot take inputs of shape \(1, 6, 6\)"),
        (nn.Bilinear(6, 6, 3), "cannot take inputs"),
        (Fixed(lambda logits: logits[:, :2]), r"outputs for a batch of 2 are \[2, 2\]; logits \[2, 3\] are needed"),
        (Fixed(lambda logits: logits.sum()), r"are \[\]; logits"),
        (Fixed(lambda logits: logits[:, :, None]), r"are \[2, 3, 1\]"),
        (Fixed(lambda logits: (logits, logits)), "are tuple; logits"),
        (Fixed(lambda logits: None), "are NoneType"),
    ],
)  # fmt: skip
def test_networks_that_do_not_fit_the_data_are_refused(network: nn.Module, message: str, small_data: Data) -> None:
    with pytest.raises(NetworkError, match=message):
        run_dense(network, small_data)


def test_more_outputs_than_classes_are_allowed(small_data: Data) -> None:
    evaluation = run_dense(LeNet300((6, 5), (1, 6, 6), 7), small_data).evaluation
    assert 0 <= evaluation.accuracy <= 1 and 0 < evaluation.nll < float("inf")


def test_the_network_given_is_not_touched(small_data: Data) -> None:
    network = LeNet300((12, 8), (1, 6, 6), 3)
    network.fc1.eval()
    network.fc2.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pruned = run_dense(network, small_data)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and not network.fc1.training and not network.fc2.weight.requires_grad
    assert pruned.network is not network
    # What the user froze stays as it was, and stays frozen.
    assert torch.equal(pruned.network.get_parameter("fc2.weight"), before["fc2.weight"])
    assert not torch.equal(pruned.network.get_parameter("fc1.weight"), before["fc1.weight"])
    flags = [parameter.requires_grad for parameter in pruned.network.parameters()]
    assert flags == [True, True, False, True, True, True]


def test_threads_and_random_numbers_are_put_back(small_data: Data) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    seen: list[int] = []

    def fail(now: Progress) -> None:
        seen.append(torch.get_num_threads())
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(METHODS["dense"], LeNet300((6, 5), (1, 6, 6), 3), small_data, settings(threads=threads + 1), progress=fail)
    assert seen == [threads + 1] and torch.get_num_threads() == threads
    network = LeNet300((6, 5), (1, 6, 6), 3)
    state = torch.get_rng_state()
    run_dense(network, small_data)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_result_is_that_of_the_last_epoch_on_the_test_split(small_data: Data) -> None:
    pruned = run_dense(LeNet300((12, 8), (1, 6, 6), 3), small_data, epochs=4)
    measured = evaluate(pruned.network, small_data)
    for name in ("accuracy", "nll", "brier", "ece", "params", "macs", "nonzero_weights"):
        # A run has a number of threads of its own, which changes the order of sums.
        assert getattr(pruned.evaluation, name) == pytest.approx(getattr(measured, name), rel=1e-6)
    assert [record["epoch"] for record in pruned.history] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", [*METHODS])
def test_requests_are_checked_against_what_a_method_takes(name: str) -> None:
    method = METHODS[name]
    for size, value in (("density", 0.5), ("budget", "macs=50%"), ("price", 2.0)):
        if size in method.takes:
            check_request(method, settings(method=name, **{size: value}))
        else:
            with pytest.raises(SettingError, match=f"method '{name}' cannot use {size}="):
                check_request(method, settings(method=name, **{size: value}))


def test_what_a_method_can_do_is_said() -> None:
    with pytest.raises(SettingError, match="cannot use price=2.0: it takes budget=..., density=...$"):
        check_request(METHODS["random"], settings(method="random", price=2.0))
    with pytest.raises(SettingError, match="'dense' cannot use density=0.5: it takes no size$"):
        check_request(METHODS["dense"], settings(density=0.5))
    with pytest.raises(SettingError, match="'random' needs a size: give budget=... or density=...$"):
        check_request(METHODS["random"], settings(method="random"))


def test_initial_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, same, other = (initial_network(SPEC, seed) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), before)
    first, again, another = (network.get_parameter("fc1.weight") for network in (one, same, other))
    assert torch.equal(first, again) and not torch.equal(first, another)
    torch.manual_seed(4)
    assert torch.equal(first, LeNet300((12, 8), (1, 6, 6), 3).fc1.weight)


def test_initial_weights_from_a_file(tmp_path: Path) -> None:
    trained = initial_network(SPEC, 9)
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    network = initial_network(SPEC, 4, tmp_path / "w.safetensors")
    assert torch.equal(network.get_parameter("fc1.weight"), trained.get_parameter("fc1.weight"))
    save_file({"fc1.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    for name in ("other", "broken", "missing"):
        with pytest.raises(SettingError, match=f"weights .*{name}.safetensors"):
            initial_network(SPEC, 4, tmp_path / f"{name}.safetensors")


class Normalised(nn.Module):
    """A hidden layer with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.fc2 = nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.fc2(self.norm(self.fc1(inputs.flatten(1))).relu())
        return outputs


def test_batch_normalisation_is_estimated_anew_without_noise(small_data: Data) -> None:
    pruned = run_dense(Normalised(), small_data, noise=0.5)
    network, batches = pruned.network, [inputs for inputs, _ in small_data.train.batches(50)]
    means = torch.stack([network.get_submodule("fc1")(inputs.flatten(1)).mean(0) for inputs in batches])
    torch.testing.assert_close(network.get_buffer("norm.running_mean"), means.mean(0), rtol=1e-4, atol=1e-5)


def test_a_last_batch_of_one_is_refused_where_batch_normalisation_needs_more(small_data: Data) -> None:
    inputs, labels = next(iter(small_data.train.batches(101)))
    data = from_tensors(inputs, labels, validation=(inputs, labels), test=(inputs, labels))
    for batch_size in (50, 100):
        with pytest.raises(SettingError, match=f"batch_size {batch_size} leaves one of 101 examples"):
            run_dense(Normalised(), data, batch_size=batch_size)
    assert run_dense(Normalised(), data, batch_size=51, epochs=1).history[0]["steps"] == 2
    assert run_dense(LeNet300((6, 5), (1, 6, 6), 3), data, batch_size=50, epochs=1).history[0]["steps"] == 3


def test_a_state_does_not_fit_a_run_with_other_settings_data_or_weights(small_data: Data, tmp_path: Path) -> None:
    def stop(now: Progress) -> None:
        if now.step == 4:
            raise InterruptedError

    def resumed(network: nn.Module, data: Data, **changes: Any) -> Pruned:
        return run(METHODS["dense"], network, data, settings(**changes), checkpointer=Checkpointer(file))

    file, network = tmp_path / "state", initial_network(SPEC, 0)
    with pytest.raises(InterruptedError):
        run(METHODS["dense"], network, small_data, settings(), checkpointer=Checkpointer(file, steps=1), progress=stop)
    assert load_tree(file)["counters"]["step"] == 3
    with pytest.raises(StoreError, match="its epochs is '2', this run's is '3'"):
        resumed(network, small_data, epochs=3)
    with pytest.raises(StoreError, match="its learning_rate is 'null', this run's is '0.5'"):
        resumed(network, small_data, learning_rate=0.5)
    with pytest.raises(StoreError, match="its initial weights is"):
        resumed(initial_network(SPEC, 1), small_data)
    inputs, labels = next(iter(small_data.train.batches(240)))
    other = from_tensors(inputs + 1, labels, validation=(inputs, labels), test=(inputs, labels))
    with pytest.raises(StoreError, match="its data_fingerprint is"):
        resumed(network, other)
    assert resumed(network, small_data).history[-1]["step"] == 10


def test_keep_and_inputs_reach_the_structure(small_data: Data) -> None:
    network = LeNet300((12, 8), (1, 6, 6), 3)
    groups = initial_state(network, small_data, settings(keep=("fc1",), inputs="none")).structure.groups
    assert [group.name for group in groups] == ["fc2"]
    groups = initial_state(network, small_data, settings()).structure.groups
    assert [group.name for group in groups] == ["inputs", "fc1", "fc2"]


def test_a_training_that_went_astray_with_finite_numbers_is_said(small_data: Data) -> None:
    chosen = RunSettings("dense", epochs=2, batch_size=60, learning_rate=1e6)
    with pytest.warns(PruningWarning, match=r"always guessing gives 1\.10.*smaller learning_rate"):
        run(METHODS["dense"], LeNet300((12, 8), (1, 6, 6), 3), small_data, chosen)
