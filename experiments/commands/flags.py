"""The flags that are settings of a run; nothing heavy is imported for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter, Token

from bayesprune.errors import SettingError
from bayesprune.store.json_values import parse_json

if TYPE_CHECKING:
    from bayesprune.run.settings import RunSettings

RUNS = Group("Runs and output", sort_key=0)
SUBJECT = Group("Network and data", sort_key=1)
SIZE = Group("What to remove", sort_key=2)
TRAINING = Group("Training", sort_key=3)
SEARCH = Group("Search", sort_key=4)


def _several(group: Group) -> Parameter:
    """A flag that takes several values, after one flag or after one each."""
    return Parameter(group=group, negative=(), consume_multiple=1, show_default=False)


def _one(group: Group) -> Parameter:
    """A flag that takes one value, or none when it is a switch."""
    return Parameter(group=group, negative=())


def _integers(kind: object, tokens: Sequence[Token]) -> int | tuple[int, ...]:
    """Integers as they are written: 1.5 is none."""
    single, values = kind in (int, int | None), []
    for token in tokens:
        try:
            values.append(int(token.value))
        except ValueError:
            name = "" if single else f"{token.keyword}: "  # a flag of one value is named by cyclopts
            raise ValueError(f"{name}{token.value!r} is not an integer.") from None
    return values[0] if single else tuple(values)


def _count(group: Group) -> Parameter:
    """A flag that takes one integer."""
    return Parameter(group=group, converter=_integers)


Out = Annotated[Path, _one(RUNS)]
Count = Annotated[int, _count(RUNS)]
Names = Annotated[tuple[str, ...], _several(RUNS)]
JSON = Annotated[bool, Parameter(negative=(), show_default=False)]
Accepted = Annotated[bool, Parameter(negative=(), show=False)]
Switch = Annotated[bool, Parameter(group=RUNS, negative=(), show_default=False)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """Settings of every run.

    Attributes:
        network: lenet300, lenet5, conv4, mlp, vgg16, resnet20, resnet32, resnet56, graphmlp, cellnet, and for strings
            such as reber graphrnn, rnn, rnn-tanh, rnn-relu, rnn-gru, rnn-lstm, with arguments as in
            "graphrnn(cell=lstm)"; or package.module:callable for your own.
        data: mnist5k, mnist, fashion-mnist, cifar10, svhn, diabetes, breast-cancer, wine, teacher200, reber,
            reber-embedded, reber-hard; your own: folder:PATH, npz:PATH or csv:FILE[:TARGET].
        task: classification, binary, multi-label, regression, counts or segmentation; by default as targets suggest.
        widths: Of the network's layers, where it takes them: 100 50.
        weights: A safetensors file with trained weights to start from.
        output: Of a network that says several things, the one that counts, by its key or place; by default the first.
        aux: Outputs that are trained on the same targets beside it: NAME=WEIGHT, such as aux1=0.3.
        price: What a gate must be worth in nats of training log-likelihood (ln gamma): 20, or inputs=5,fc1=20,fc2=10.
        budget: At most so much: macs=150k, params=40000, macs=10% or latency=2ms (one sample, here), or several at
            once: macs=10%,params=5%; beside a price, a cap on what that price leaves. For methods that choose channels
            also the share that each layer keeps: conv1=50%,fc1=10%.
        density: Share of the weights to keep, where weights are pruned: 0.1 or 10%, or for each layer fc1=10%,fc2=50%.
        keep: Layers whose outputs stay whole.
        inputs: Gates on input features: auto, all or none.
        flatten_inputs: Gates on flattened features as well.
        estimator: Of the gates' gradient.
        option: A setting of the method's own: NAME=VALUE, such as gamma=1e6.
        epochs: Of all phases together; by default about 22,000 steps, at most 120 epochs; 0 prunes without training.
        batch_size: Examples a step.
        learning_rate: Of the first phase with labels (pruned before training: the only one); by default the
            method's.
        noise: Standard deviation of the multiplicative noise at fixed structure; by default 0.5
            with fewer than 10,000 training examples, else and with convolutions 0.3, with convolutions 0.2.
        consistency: Weight of the agreement between two noisy predictions at fixed structure; by default 0.5
            with fewer than 10,000 training examples, else and with convolutions 0.
        optimizer: Of the weights: adam, or sgd, gradient descent with momentum; where gates learn, only afterwards.
        augment: Of training pictures: crop-flip; by default none.
        threads: Torch threads of a run.
        device: Where runs compute: auto, cpu, cuda, cuda:1 or mps; auto is the first CUDA device, or the CPU.
        precision: float32, bf16 (bfloat16 forward passes) or float64.
    """

    network: Annotated[str, _one(SUBJECT)] = "lenet300"
    data: Annotated[str, _one(SUBJECT)] = "mnist5k"
    task: Annotated[str | None, _one(SUBJECT)] = None
    widths: Annotated[tuple[int, ...], _several(SUBJECT), Parameter(converter=_integers)] = ()
    weights: Annotated[str | None, _one(SUBJECT)] = None
    output: Annotated[str, Parameter(group=SUBJECT, negative=(), show_default=False)] = ""
    aux: Annotated[tuple[str, ...], _several(SUBJECT)] = ()
    price: Annotated[str | None, _one(SIZE)] = None
    budget: Annotated[str | None, _one(SIZE)] = None
    density: Annotated[str | None, _one(SIZE)] = None
    keep: Annotated[tuple[str, ...], _several(SIZE)] = ()
    inputs: Annotated[str, _one(SIZE)] = "auto"
    flatten_inputs: Annotated[bool, Parameter(group=SIZE, negative=(), show_default=False)] = False
    estimator: Annotated[str, _one(SIZE)] = "curvature"
    option: Annotated[tuple[str, ...], _several(SIZE)] = ()
    epochs: Annotated[int | None, _count(TRAINING)] = None
    batch_size: Annotated[int, _count(TRAINING)] = 100
    learning_rate: Annotated[float | None, _one(TRAINING)] = None
    noise: Annotated[float | None, _one(TRAINING)] = None
    consistency: Annotated[float | None, _one(TRAINING)] = None
    optimizer: Annotated[str | None, _one(TRAINING)] = None
    augment: Annotated[str | None, _one(TRAINING)] = None
    threads: Annotated[int, _count(TRAINING)] = 1
    device: Annotated[str, _one(TRAINING)] = "auto"
    precision: Annotated[str, _one(TRAINING)] = "float32"

    def settings(self, method: str, seed: int) -> "RunSettings":
        """The settings of a run.

        Raises:
            SettingError: a flag has a value that cannot be used.
        """
        from bayesprune.run.settings import RunSettings

        given = dict(vars(self))
        options = dict(_option(text) for text in given.pop("option"))
        changed = {"widths": self.widths or None, "aux": dict(_weight(text) for text in self.aux)}
        return RunSettings(method, seed=seed, options=options, **given | changed)


DEFAULTS = RunFlags()


def _weight(text: str) -> tuple[str, float]:
    """Read NAME=WEIGHT; `RunSettings` checks the number."""
    name, separator, value = text.partition("=")
    try:
        if separator and name:
            return name, float(value)
    except ValueError:
        pass
    raise SettingError(f"aux {text!r}: write NAME=WEIGHT with a number, for example aux1=0.3")


def _option(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE; the value as JSON where it is, else as a word."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise SettingError(f"option {text!r}: write NAME=VALUE, for example start=0.9")
    try:
        return name.replace("-", "_"), parse_json(value)
    except ValueError:
        return name.replace("-", "_"), value
