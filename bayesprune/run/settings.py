"""The settings of a run: one frozen value, checked when it is made, hashed to name the run."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
from typing import Any, ClassVar, Self

from bayesprune.data import Split, steps_per_epoch
from bayesprune.data.augment import AUGMENTATIONS
from bayesprune.devices import check_device, check_precision
from bayesprune.errors import SettingError, UnknownNameError, nearest_name
from bayesprune.run.budget import budgets_text
from bayesprune.run.shares import as_text, is_table, shares_of

TARGET_STEPS, MOST_EPOCHS = 22_000, 120
"""By default a run takes about as many steps as the measured recipe, but no more than so many epochs."""

MOST_THREADS, _MOST_BITS = 1024, 1000
"""Beyond them torch crashes, and integers are no floats."""

OPTIMIZERS = ("adam", "sgd")
"""Of the network's weights; the first is the usual one."""

LEAST_SLAB = 1e-6
"""Standard deviation of a prior that still leaves weights some room."""

LARGEST_SEED = 2**32 - 1
"""Torch's CPU generator sees no more than 32 bits of a seed."""

_EXACT = 2**53
"""Below it every whole number is a float of its own."""


@dataclass(frozen=True)
class RunSettings:
    """What a run depends on; equal settings in other words have one form ("macs=150k" becomes "macs=150000").

    Attributes:
        method: name in the table of methods.
        network: registered name, where it takes arguments also with them, "graphrnn(cell=lstm)"; or
            `package.module:callable`.
        data: name of the data set.
        seed: of initial weights, order, noise and gates.
        epochs: in all; None stands for the default for the size of the data. With 0 nothing is trained: methods that
            choose by a score prune the network as it is.
        batch_size: examples a step.
        learning_rate: of the first phase with labels, the only one of methods that prune before training; None stands
            for the method's default.
        noise: standard deviation of the multiplicative noise at fixed structure; None stands for 0.3
            (networks without convolutions) or 0.2, and for none where no channel of the network can be removed.
        consistency: weight of the agreement between two noisy predictions at fixed structure; None stands for 0.5
            (networks without convolutions, fewer than 10,000 training examples) or 0.
        optimizer: of the weights, "adam" (None) or "sgd", gradient descent with Nesterov's momentum of 0.9 from a rate
            of 0.1; of methods that learn gates only at fixed structure, since gates learn beside Adam.
        augment: "crop-flip" moves and flips training pictures at random (`data.augment`); None leaves them as they are.
        density: share of the weights to keep, for methods that prune weights, 0.1 or "10%"; or a table with one for
            each layer, {"fc1": 0.1, "fc2": "50%"} or "fc1=10%,fc2=50%" (kept as "fc1=0.1,fc2=0.5"): others stay whole.
        budget: e.g. "macs=150k", "params=5%" or "latency=2ms" (one sample, one thread, on the device of the run), for
            methods that prune structure; several at once as "macs=10%,params=5%" or a list; beside a price it only caps
            what that price leaves; {"macs": 0.1, "params": 40000} is "macs=10%,params=40000". For methods that choose
            channels by a score also a table with the share of its
            channels that each layer keeps at most.
        price: nats of training log-likelihood a gate must be worth (ln gamma): a number, or "fc1=20,fc2=10".
        estimator: of the gates' gradient.
        keep: layers whose outputs stay whole.
        inputs: gates on input features: "auto", "all" or "none".
        flatten_inputs: gates on flattened features as well.
        threads: torch threads; runs that differ in these only are one run.
        device: where it computes: "cpu", "cuda", "cuda:1", "mps", or "auto": the first CUDA device where there is one,
            else the CPU. Like threads it is no part of what run this is.
        precision: "float32"; "bf16", which computes forward passes in bfloat16 and keeps weights in float32; or
            "float64". No part of what run this is either.
        weights: a safetensors file with trained weights to start from; its content names the run.
        widths: of the network's layers, where its factory takes them.
        task: what is learnt: "classification", "binary", "multi-label", "regression", "counts" or "segmentation"; None
            for what the data's targets suggest.
        output: of a network that says several things, the one that counts, by its key or place; "" for the first.
        aux: auxiliary outputs of training that are compared with the same targets, with their weights: {"aux1": 0.3}.
        options: the method's own settings.
    """

    method: str
    network: str = "lenet300"
    data: str = "mnist5k"
    seed: int = 0
    epochs: int | None = None
    batch_size: int = 100
    learning_rate: float | None = None
    noise: float | None = None
    consistency: float | None = None
    optimizer: str | None = None
    augment: str | None = None
    density: float | str | None = None
    budget: str | None = None
    price: float | str | None = None
    estimator: str = "curvature"
    keep: tuple[str, ...] = ()
    inputs: str = "auto"
    flatten_inputs: bool = False
    threads: int = 1
    device: str = "auto"
    precision: str = "float32"
    weights: str | None = None
    widths: tuple[int, ...] | None = None
    task: str | None = None
    output: str = ""
    aux: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("method", "network", "data", "estimator", "inputs"):
            check_type(name, getattr(self, name), str, "text")
        check_type("weights", self.weights, str | None, "the name of a file")
        check_type("price", self.price, int | float | str | None, "a number or text such as fc1=20,fc2=10")
        if isinstance(self.price, int) and self.price.bit_length() > _MOST_BITS:
            check_number("price", self.price, 0.0)
        for name in ("density", "budget"):
            if is_table(getattr(self, name)):
                object.__setattr__(self, name, as_text(shares_of(name, getattr(self, name))))
        if isinstance(self.budget, Mapping):
            object.__setattr__(self, "budget", budgets_text(self.budget))
        if isinstance(self.budget, list | tuple):
            object.__setattr__(self, "budget", budgets_text(_entries("budget", self.budget, str, "budgets")))
        check_type("budget", self.budget, str | None, "text such as macs=150k, or a table of shares by layer")
        check_type("flatten_inputs", self.flatten_inputs, bool, "true or false")
        check_type("task", self.task, str | None, "the name of a task")
        check_type("output", self.output, str | int, "the key or place of an output")
        object.__setattr__(self, "output", str(self.output))
        object.__setattr__(self, "device", check_device(self.device))
        object.__setattr__(self, "precision", check_precision(self.precision))
        object.__setattr__(self, "aux", _aux(self.aux))
        check_type("options", self.options, Mapping, "a table of the method's own settings")
        check_integer("seed", self.seed, 0, LARGEST_SEED)
        check_integer("epochs", 0 if self.epochs is None else self.epochs, 0)
        check_integer("batch_size", self.batch_size, 1)
        check_integer("threads", self.threads, 1, MOST_THREADS)
        check_number("learning_rate", self.learning_rate, 0.0)
        if not is_table(self.density):
            share = _as_share(self.density)
            check_number("density", share, 0.0, 1.0)
            object.__setattr__(self, "density", share)
        check_number("noise", self.noise, 0.0, low_allowed=True)
        check_number("consistency", self.consistency, 0.0, low_allowed=True)
        if self.optimizer not in (None, *OPTIMIZERS):
            raise UnknownNameError("optimizer", str(self.optimizer), OPTIMIZERS)
        if self.augment is not None and self.augment not in AUGMENTATIONS:
            raise UnknownNameError("augmentation", str(self.augment), AUGMENTATIONS)
        if self.inputs not in ("auto", "all", "none"):
            raise SettingError(f"inputs must be 'auto', 'all' or 'none', not {self.inputs!r}")
        self._normalise()

    def _normalise(self) -> None:
        """Give equal settings one form, so that they name one run: 20, 20.0 and "20" are the same price."""
        one_form: dict[str, Any] = {
            "widths": None if self.widths is None else _entries("widths", self.widths, int, "integers"),
            "keep": tuple(sorted(set(_entries("keep", self.keep, str, "names of layers")))),
            "budget": _one_budget(self.budget),
            "price": _one_price(self.price),
            "options": _whole(self.options),
            "optimizer": None if self.optimizer == OPTIMIZERS[0] else self.optimizer,
        }
        for name in ("learning_rate", "noise", "consistency"):
            one_form[name] = _as_number(getattr(self, name))
        for name, value in one_form.items():
            object.__setattr__(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """Flat JSON; what the run's identity is the hash of."""
        document = asdict(self)
        widths = None if self.widths is None else list(self.widths)
        usual: dict[str, Any] = {
            "task": None,
            "output": "",
            "aux": {},
            "augment": None,
            "optimizer": None,
        }  # left out, so that runs keep the names that they had before
        document = {name: value for name, value in document.items() if name not in usual or value != usual[name]}
        return document | {"keep": list(self.keep), "widths": widths}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RunSettings":
        """What `to_json` wrote; other keys are left out."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__ if name in document})

    def with_defaults(self, train: Split) -> "RunSettings":
        """Fill in the number of epochs for so many training examples."""
        if self.epochs is not None:
            return self
        return replace(self, epochs=default_epochs(steps_per_epoch(train, self.batch_size)))

    def total_steps(self, train: Split) -> int:
        """Optimizer steps of all epochs."""
        epoch_steps = steps_per_epoch(train, self.batch_size)
        return (default_epochs(epoch_steps) if self.epochs is None else self.epochs) * epoch_steps


def check_options(method: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse options that the method does not have.

    Raises:
        SettingError: naming the option that is meant, or the setting of the run.
    """
    for name in given:
        if name in known:
            continue
        meant = nearest_name(name, RunSettings.__dataclass_fields__)
        if meant is not None and nearest_name(name, known) is None:
            raise SettingError(f"{name!r} is no option of {method}: give the setting {meant} of the run itself")
        raise UnknownNameError(f"option of {method}", name, known)


class Options:
    """A method's own settings; a frozen dataclass extends it."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @classmethod
    def of(cls, method: str, options: Mapping[str, Any]) -> Self:
        """Read the options of a run of this method.

        Raises:
            SettingError: there is no such option, or its value is not allowed.
        """
        check_options(method, options, [field.name for field in fields(cls)])
        return cls(**options)


def default_epochs(epoch_steps: int) -> int:
    """About `TARGET_STEPS` steps, at most `MOST_EPOCHS` epochs: 40 on MNIST, 120 on mnist5k."""
    return max(1, min(MOST_EPOCHS, round(TARGET_STEPS / epoch_steps)))


def check_number(
    name: str, value: float | None, low: float, high: float | None = None, *, low_allowed: bool = False
) -> None:
    """Refuse what is no finite number above `low` (or at it, if allowed) and up to `high`; None passes.

    Raises:
        SettingError: naming the value and the limits.
    """
    check_type(name, value, int | float | None, "a number")
    if value is None:
        return
    too_low = value < low if low_allowed else value <= low
    beyond = isinstance(value, int) and value.bit_length() > _MOST_BITS
    if beyond or not isfinite(value) or too_low or (high is not None and value > high):
        limit = f"{'>=' if low_allowed else '>'} {low:g}" + (f" and <= {high:g}" if high is not None else "")
        given = f"an integer of {int(value).bit_length()} bits" if beyond else value
        raise SettingError(f"{name} must be a finite number {limit}, not {given}")


def check_integer(name: str, value: int, least: int, most: int | None = None) -> None:
    """Refuse what is no integer from `least` to `most`.

    Raises:
        SettingError: naming the value and the limits.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole and value >= least and (most is None or value <= most)):
        limit = f">= {least}" + (f" and <= {most}" if most is not None else "")
        raise SettingError(f"{name} must be an integer {limit}, not {value!r}")


def check_type(name: str, value: object, kind: Any, wanted: str) -> None:
    """Refuse a value of another type; True and False are no numbers.

    Raises:
        SettingError: naming the value and what is wanted.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SettingError(f"{name} must be {wanted}, not {value!r}")


def _aux(given: Any) -> dict[str, float]:
    """Weights of auxiliary outputs by name; as text "aux1=0.3,aux2=0.1"."""
    if isinstance(given, str):
        pairs = [part.partition("=")[::2] for part in given.split(",") if part.strip()]
        given = {name.strip(): _as_number(weight) for name, weight in pairs}
    check_type("aux", given, Mapping, 'a table of weights, such as {"aux1": 0.3}')
    found = {str(name): _as_number(weight) for name, weight in given.items()}
    for name, weight in found.items():
        check_number(f"aux[{name!r}]", weight, 0.0)
    return dict(sorted(found.items()))


def _one_budget(budget: str | None) -> str | None:
    """Budgets in their one form; a table of shares by layer has it already."""
    return budget if budget is None or is_table(budget) else budgets_text(budget)


def _as_number(value: Any) -> Any:
    """A number, or text that says one, as a float; anything else as it is."""
    if isinstance(value, bool):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return value


def _as_share(value: Any) -> Any:
    """A share, which text may give in percent, as a float; anything else as it is."""
    if not isinstance(value, str) or not value.strip().endswith("%"):
        return _as_number(value)
    percent = _as_number(value.strip().removesuffix("%"))
    return round(percent / 100, 12) if isinstance(percent, float) and isfinite(percent) else value


def _one_price(price: float | str | None) -> Any:
    """A price in one form, a number or "fc1=20,fc2=10" with groups by name; what is no price stays as it is."""
    if not isinstance(price, str) or "=" not in price:
        return _as_number(price)
    pairs = [(name.strip(), _as_number(nats)) for name, _, nats in (part.partition("=") for part in price.split(","))]
    if len(dict(pairs)) < len(pairs) or not all(isinstance(nats, float) and isfinite(nats) for _, nats in pairs):
        return price
    return ",".join(f"{name}={_whole(nats)}" for name, nats in sorted(pairs))


def _whole(value: Any) -> Any:
    """A copy in which 5.0 is 5, in tables and lists too: as options they are the same."""
    if isinstance(value, Mapping):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


def _entries(name: str, values: Any, kind: type, wanted: str) -> tuple[Any, ...]:
    """A list or tuple of one kind of entries as a tuple."""
    if not isinstance(values, list | tuple):
        raise SettingError(f"{name} must be a list of {wanted}, not {values!r}")
    for value in values:
        check_type(f"each entry of {name}", value, kind, f"one of the {wanted}")
    return tuple(values)
