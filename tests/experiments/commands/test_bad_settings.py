"""Settings that cannot be used: one line and exit status 2 from the command line, a typed error from Python."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import bayesprune as bp
from bayesprune.errors import BayespruneError, BudgetError, NetworkError, SettingError, UnknownNameError

NAN, INFINITY = float("nan"), float("inf")


@dataclass(frozen=True)
class Bad:
    """A setting with a value that cannot be used, and what the message must name."""

    name: str
    value: Any
    words: str
    error: type[BayespruneError] = SettingError
    method: str = "parsimonious"
    option: bool = False

    def __str__(self) -> str:
        return f"{self.method}-{self.name}={self.value}"

    @property
    def flags(self) -> list[str]:
        """The flags that give it."""
        given = self.value if isinstance(self.value, tuple) else [self.value]
        if self.option:
            return ["--option", f"{self.name}={self.value}"]
        return [f"--{self.name.replace('_', '-')}", *map(str, given)]


def option(name: str, value: Any, words: str, error: type[BayespruneError] = SettingError) -> Bad:
    """A bad setting of the method's own."""
    return Bad(name, value, words, error, option=True)


BAD = [
    Bad("method", "parsimonius", "unknown method 'parsimonius': did you mean 'parsimonious'?", UnknownNameError),
    Bad("estimator", "curvatur", "unknown estimator 'curvatur': did you mean 'curvature'?", UnknownNameError),
    Bad("epochs", 0, "epochs=0 leaves none: give epochs=1 or more"),
    Bad("epochs", -3, "epochs must be an integer >= 0, not -3"),
    Bad("batch_size", 0, "batch_size must be an integer >= 1, not 0"),
    Bad("seed", -1, "seed must be an integer >= 0 and <= 4294967295, not -1"),
    Bad("threads", 0, "threads must be an integer >= 1 and <= 1024, not 0"),
    Bad("device", "gpu", "device must be 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps', not 'gpu'"),
    Bad("device", "cuda:99", "device='cuda:99' is not there: this machine has cpu"),
    Bad("precision", "fp8", "unknown precision 'fp8': there are bf16, float32, float64", UnknownNameError),
    Bad("learning_rate", 0.0, "learning_rate must be a finite number > 0, not 0.0"),
    Bad("learning_rate", NAN, "learning_rate must be a finite number > 0, not nan"),
    Bad("noise", -1.0, "noise must be a finite number >= 0, not -1.0"),
    Bad("inputs", "some", "inputs must be 'auto', 'all' or 'none', not 'some'"),
    Bad("keep", ("fc7",), "unknown layer in keep 'fc7': did you mean 'fc", UnknownNameError),
    Bad("price", 0, "price must be a finite number of nats > 0 (gamma = e^price > 1), not 0", BudgetError),
    Bad("price", -2.5, "price must be a finite number of nats > 0 (gamma = e^price > 1), not -2.5", BudgetError),
    Bad("price", NAN, "price must be a finite number of nats > 0 (gamma = e^price > 1), not nan", BudgetError),
    Bad("price", INFINITY, "price must be a finite number of nats > 0", BudgetError),
    Bad("price", "cheap", "price 'cheap': write a number of nats, or fc1=20,fc2=10", BudgetError),
    Bad("price", "fc1=20", "prices and groups differ in ['fc2', 'inputs']"),
    Bad("price", "inputs=1,fc1=20,fc2=nan", "price of 'fc2' must be a finite number of nats > 0", BudgetError),
    Bad("budget", "10%", "budget '10%': write macs=150k, params=40000 or macs=10%", BudgetError),
    Bad("budget", "watts=3", "budget 'watts=3': write macs=150k", BudgetError),
    Bad("budget", "macs=0", "budget 'macs=0': write macs=150k, params=40000 or macs=10%, latency=2ms", BudgetError),
    Bad("budget", "macs=1e999", "budget 'macs=1e999'", BudgetError),
    Bad("budget", "params=120%", "above 0 and at most 100 %", BudgetError),
    Bad("budget", "macs=3", "meets macs <= 3: with as few channels as possible it needs 5", BudgetError),
    Bad("budget", "macs=3", "meets macs <= 3", BudgetError, "l1-units"),
    Bad(
        "budget",
        "macs=10%",
        "method 'magnitude' cannot use budget='macs=10%': it takes density=...",
        method="magnitude",
    ),
    Bad("density", 0.5, "method 'parsimonious' cannot use density=0.5: it takes budget=..., price=..."),
    Bad("density", 0.0, "density must be a finite number > 0 and <= 1, not 0", method="magnitude"),
    Bad("density", 1.5, "density must be a finite number > 0 and <= 1, not 1.5", method="magnitude"),
    Bad("density", NAN, "density must be a finite number > 0 and <= 1, not nan", method="magnitude"),
    Bad("epochs", 1, "method 'magnitude' needs a size: give density=...", method="magnitude"),
    Bad("epochs", 1, "method 'l1-units' needs a size: give budget=...", method="l1-units"),
    option("gamma", 0, "gamma must be a finite number > 0, not 0"),
    option("gamma", -5, "gamma must be a finite number > 0, not -5"),
    option("gamma", 1, "price must be a finite number of nats > 0 (gamma = e^price > 1), not 0", BudgetError),
    option("gamma", "large", "gamma must be a number, not 'large'"),
    option("gama", 3, "unknown option of parsimonious 'gama': did you mean 'gamma'?", UnknownNameError),
    option("start", 1, "start must lie strictly between 0 and 1, not 1"),
    option("horizon", 0, "horizon must be a finite number >= 1, not 0"),
    option("prune_share", 2, "prune_share must be a finite number >= 0 and <= 1, not 2"),
    option("alpha", 2, "alpha must be a finite number >= 0 and <= 1, not 2"),
    option("shrink_every", 0, "shrink_every must be an integer >= 1, not 0"),
    option("removal", 3, "removal must be the name of a rule, not 3"),
    option("removal", "averag", "unknown removal 'averag': did you mean 'average'?", UnknownNameError),
    option("slab", 0, "slab must be a finite number >= 1e-06, not 0"),
    option("price_kind", "fair", "price_kind must be 'equal' or 'cost', not 'fair'"),
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_setting_is_one_line_on_the_command_line(bad: Bad, command: Any, inputs: Path, tmp_path: Path) -> None:
    flags = bad.flags if bad.name == "method" else ["--method", bad.method, *bad.flags]
    outcome = command("prune", "--data", f"npz:{inputs / 'ok.npz'}", *flags)
    assert outcome.status == 2
    assert outcome.err.startswith("bayesprune: ") and outcome.err.count("\n") == 1
    assert bad.words in outcome.err
    assert not outcome.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_setting_is_a_typed_error_in_python(bad: Bad, inputs: Path) -> None:
    data = bp.load_data(f"npz:{inputs / 'ok.npz'}")
    settings = {"method": bad.method} | {bad.name: bad.value}
    with pytest.raises(bad.error, match=re.escape(bad.words)):
        bp.prune(bp.models.LeNet300(input_shape=(1, 8, 8), classes=3), data, **settings)


@pytest.mark.parametrize(
    ("flags", "settings", "words"),
    [
        (["--seeds", 0], {"seeds": 0}, "seeds must be an integer >= 1, not 0"),
        (["--seeds", -1], {"seeds": -1}, "seeds must be an integer >= 1, not -1"),
        (["--workers", 0], {"workers": 0}, "workers must be an integer >= 1, not 0"),
        (
            ["--methods", "dense", "magnitude"],
            {"methods": ["dense", "magnitude"]},
            "takes its size from 'parsimonious'",
        ),
        (["--methods", "dens"], {"methods": ["dens"]}, "unknown method 'dens': did you mean 'dense'?"),
        (["--widths", 5], {"widths": (5,)}, "lenet300 takes 2 widths >= 1"),
        (["--widths", 0, 5], {"widths": (0, 5)}, "lenet300 takes 2 widths >= 1"),
    ],
)
def test_a_bad_setting_of_a_comparison(
    flags: list[Any], settings: dict[str, Any], words: str, command: Any, inputs: Path, tmp_path: Path
) -> None:
    data = f"npz:{inputs / 'ok.npz'}"
    outcome = command("compare", "--data", data, *flags)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert words in outcome.err
    with pytest.raises(SettingError, match=re.escape(words)):
        bp.compare(data=data, out=tmp_path / "runs", **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("network", ["lenet5", "conv4"])
def test_a_network_with_nothing_left_to_prune(network: str, command: Any) -> None:
    layers = {"lenet5": ["conv1", "conv2", "fc1"], "conv4": ["conv1", "conv2", "conv3", "conv4", "fc1", "fc2"]}
    outcome = command("prune", "--network", network, "--inputs", "none", "--keep", *layers[network])
    assert outcome.status == 2
    assert "no groups to prune" in outcome.err


def test_weights_that_are_no_numbers_are_refused_in_python() -> None:
    network = bp.models.LeNet300()
    network.fc2.bias.data[3] = NAN
    with pytest.raises(NetworkError, match="fc2.bias of the network holds NaN or infinite values"):
        bp.prune(network, bp.load_data("mnist5k"), epochs=1)
