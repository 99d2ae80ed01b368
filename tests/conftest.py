"""What every test shares: threads, random numbers that hang on the test's name alone, and where the real data lie.

Property tests have two profiles. "quick" tries the same examples each time: what fails, fails for everybody. "long"
(`make test-long`) tries more and fresh ones, from a seed that is printed. A failure it finds goes into the test as an
`@example`. A test that wants fewer or more examples says so relative to the profile: `settings().max_examples // 2`.
"""

import os
import random
import re
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from zlib import crc32

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis.internal.conjecture import providers

from bayesprune.data import Data, from_tensors
from bayesprune.inference import onset

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

REPOSITORY = Path(__file__).resolve().parent.parent


class TorchRandom:
    """Torch's global generator, as hypothesis wants it: each example starts from the same state."""

    def seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def getstate(self) -> torch.Tensor:
        return torch.get_rng_state()

    def setstate(self, state: torch.Tensor) -> None:
        torch.set_rng_state(state)


TORCH_RANDOM = TorchRandom()  # hypothesis keeps a weak reference only
hypothesis.register_random(TORCH_RANDOM)
# Hypothesis mixes in numbers that it reads in our sources, of the modules that happen to be loaded: a test's examples
# would hang on the tests before it, and every process would parse all sources.
vars(providers)["is_local_module_file"] = lambda path: False
_CHECKS = [hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow]
_COMMON = hypothesis.settings(deadline=None, database=None, print_blob=True, suppress_health_check=_CHECKS)
hypothesis.settings.register_profile("quick", _COMMON, max_examples=100, derandomize=True)
hypothesis.settings.register_profile("long", _COMMON, max_examples=1000)
hypothesis.settings.load_profile("quick")


def seed_everything(name: str) -> None:
    """Start all global random numbers from a name."""
    seed = crc32(name.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries may draw from the global generator
    torch.manual_seed(seed)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """What a module draws on import hangs on its own name."""
    seed_everything(collector.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What a test draws hangs on its name, not on the tests before it; nor does whether distributions check values."""
    seed_everything(item.nodeid)
    torch.distributions.Distribution.set_default_validate_args(True)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
    """What a shared fixture draws hangs on its name, and does not show in the test that happens to want it first."""
    if fixturedef.scope == "function":
        return (yield)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    seed_everything(f"{fixturedef.baseid} {fixturedef.argname} {getattr(request, 'param_index', 0)}")
    result = yield
    random.setstate(before[0])
    np.random.set_state(before[1])  # noqa: NPY002
    torch.set_rng_state(before[2])
    return result


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def page_blocks() -> Callable[[str], list[str]]:
    """From the name of a page of the documentation to its blocks of Python, in their order."""

    def blocks(page: str) -> list[str]:
        return re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / page).read_text("utf-8"), re.DOTALL)

    return blocks


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real data sets; without it the tests that need it are skipped."""
    named = os.environ.get("BAYESPRUNE_DATA")
    if not named:
        pytest.skip("BAYESPRUNE_DATA is not set: it names the folder with the real data sets")
    root = Path(named)
    if not root.is_dir():
        pytest.skip(f"BAYESPRUNE_DATA names {root}, which is no folder")
    return root


@pytest.fixture(scope="session")
def small_arrays() -> dict[str, Any]:
    """Three classes of noisy 6x6 pictures, of which a small network learns something: 240 + 40 + 60 of them."""
    generator = np.random.default_rng(0)
    patterns = generator.normal(size=(3, 1, 6, 6))
    labels = np.arange(340) % 3
    pictures = patterns[labels] + 1.5 * generator.normal(size=(340, 1, 6, 6))
    pictures = pictures.astype(np.float32)
    cuts = {"train": slice(0, 240), "validation": slice(240, 280), "test": slice(280, 340)}
    arrays = {f"x_{name}": pictures[cut] for name, cut in cuts.items()}
    return arrays | {f"y_{name}": labels[cut] for name, cut in cuts.items()}


@pytest.fixture(scope="session")
def small_data(small_arrays: dict[str, Any]) -> Data:
    """The same as data in memory."""
    train, validation, test = (
        (small_arrays[f"x_{n}"], small_arrays[f"y_{n}"]) for n in ("train", "validation", "test")
    )
    return from_tensors(*train, validation=validation, test=test, name="small")


@pytest.fixture(scope="session")
def small_npz(small_arrays: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as a file, by the name under which runs find it."""
    path = tmp_path_factory.mktemp("small") / "small.npz"
    np.savez(path, **small_arrays)
    return f"npz:{path}"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs do not wait until their loss has left that of a guess."""
    monkeypatch.setattr(onset, "LATEST", 0.0)
