"""Whatever torch is set to: a run gives the same numbers, and puts everything back."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.data import Data, from_tensors
from bayesprune.experiments.methods import METHODS
from bayesprune.run.environment import environment, flushes_subnormal
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.training import Progress

REQUESTS: dict[str, dict[str, Any]] = {"dense": {}, "l1-units": {"budget": "macs=50%"}, "snip": {"density": 0.3}}


class Normalised(nn.Module):
    """Two layers and batch normalisation, whose averages are buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.fc2 = nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.fc2(self.norm(self.fc1(inputs.flatten(1))).relu())
        return outputs


def network(seed: int = 0) -> nn.Module:
    """The same weights for a seed, of the default type."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Normalised()


def pruned(model: nn.Module, data: Data, method: str = "dense", seed: int = 0, **more: Any) -> Pruned:
    settings = RunSettings(method, epochs=2, batch_size=50, seed=seed, **REQUESTS[method])
    return run(METHODS[method], model, data, settings, **more)


def same(one: Pruned, other: Pruned) -> bool:
    ours, theirs = one.network.state_dict(), other.network.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


@contextmanager
def restored(put: Callable[[Any], Any], value: Any, before: Any) -> Iterator[None]:
    put(value)
    try:
        yield
    finally:
        put(before)


MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "float64": lambda: restored(torch.set_default_dtype, torch.float64, torch.float32),
    "meta": lambda: torch.device("meta"),
    "meta by default": lambda: restored(torch.set_default_device, "meta", None),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "flush": lambda: restored(torch.set_flush_denormal, True, False),
    "deterministic": lambda: restored(torch.use_deterministic_algorithms, True, False),
    "threads": lambda: restored(torch.set_num_threads, 3, torch.get_num_threads()),
}


def settings_now() -> tuple[object, ...]:
    """All that a user may have set."""
    return (
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(),
        torch.get_default_device(), torch.is_autocast_enabled("cpu"), flushes_subnormal(),
        torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.get_rng_state().tolist(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def expected(small_data: Data) -> dict[str, Pruned]:
    """The results when nothing is set."""
    return {name: pruned(network(), small_data, name) for name in REQUESTS}


@pytest.mark.parametrize("method", [*REQUESTS])
@pytest.mark.parametrize("mode", [*MODES])
def test_a_run_does_not_depend_on_what_is_set(
    mode: str, method: str, small_data: Data, expected: dict[str, Pruned]
) -> None:
    model = network()
    with MODES[mode]():
        before = settings_now()
        result = pruned(model, small_data, method)
        assert settings_now() == before
    assert same(result, expected[method])
    assert result.evaluation.nll == expected[method].evaluation.nll
    assert all(value.requires_grad and not value.is_inference() for value in result.network.parameters())


@pytest.mark.parametrize("method", [*REQUESTS])
def test_network_and_data_made_in_inference_mode(method: str, small_arrays: Any, expected: dict[str, Pruned]) -> None:
    with torch.inference_mode():
        pairs = [
            (torch.tensor(small_arrays[f"x_{n}"]), torch.tensor(small_arrays[f"y_{n}"]))
            for n in ("train", "validation", "test")
        ]
        data = from_tensors(*pairs[0], validation=pairs[1], test=pairs[2], name="small")
        model = network()
        result = pruned(model, data, method)
    assert same(result, expected[method])
    result.network(torch.zeros(4, 1, 6, 6)).sum().backward()


def test_a_failure_puts_everything_back(small_data: Data) -> None:
    def fail(now: Progress) -> None:
        raise InterruptedError

    for mode in (nullcontext, *MODES.values()):
        model = network()
        with mode():
            before = settings_now()
            with pytest.raises(InterruptedError):
                pruned(model, small_data, progress=fail)
            assert settings_now() == before


def test_inside_everything_is_as_a_run_needs_it(small_data: Data) -> None:
    seen: list[tuple[object, ...]] = []
    with torch.no_grad(), MODES["float64"](), MODES["threads"]():
        pruned(network().float(), small_data, progress=lambda now: seen.append(settings_now()[:8]))
    cpu = torch.device("cpu")
    assert set(seen) == {(True, False, torch.float32, cpu, False, torch.set_flush_denormal(False), False, 1)}


def test_subnormal_numbers_are_told_from_zero() -> None:
    assert not flushes_subnormal()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot take subnormal numbers for zero")
    assert flushes_subnormal()
    torch.set_flush_denormal(False)
    assert not flushes_subnormal()


def test_two_runs_in_two_threads_are_those_of_one_after_the_other(small_data: Data) -> None:
    alone = [pruned(network(seed), small_data, seed=seed) for seed in (0, 1)]
    models, results = [network(seed) for seed in (0, 1)], {}

    def work(seed: int) -> None:
        results[seed] = pruned(models[seed], small_data, seed=seed)

    threads = [Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(results[seed], alone[seed]) for seed in (0, 1))


def test_a_second_thread_waits_until_the_first_has_put_its_settings_back() -> None:
    seen: list[torch.dtype] = []

    def work() -> None:
        with environment():
            seen.append(torch.get_default_dtype())
            torch.set_default_dtype(torch.float16)

    with environment():
        thread = Thread(target=work)
        thread.start()
        thread.join(0.2)
        assert seen == [] and torch.get_default_dtype() == torch.float32
    thread.join()
    assert seen == [torch.float32] and torch.get_default_dtype() == torch.float32
