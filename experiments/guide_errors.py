"""How far each method is from the exact posterior of a small network: `python -m bayesprune.experiments.guide_errors`.

The reference is drawn by NUTS over all weights, with the gates summed out. Everybody has the same model: gates on the
inputs with prior log odds of minus the price, weights N(0, slab^2).
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from bayesprune.data import Data, from_tensors
from bayesprune.errors import PruningWarning, SettingError
from bayesprune.experiments.facade import prune
from bayesprune.run.pruned import Pruned
from bayesprune.run.settings import check_integer, check_number
from bayesprune.structure import Gating, evaluating

if TYPE_CHECKING:
    import pandas

    from bayesprune.inference.references.nuts_draws import NutsDraws

METHODS = ("parsimonious", "spike-slab", "spike-slab-flat")
"""Methods with inclusion probabilities of their own."""

REFERENCE, EXACT, GIBBS, ALL_OPEN = "NUTS, gates summed out", "exact gates", "Gibbs", "dense"
MOST_DRAWS = 400
"""Draws of the reference that predictions are averaged over."""

_QUIET = {"noise": 0.0, "consistency": 0.0}
"""Settings of training at fixed structure that are no part of the model."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class GuideError:
    """One method beside the reference; means over its runs.

    Attributes:
        name: of the method.
        runs: how many.
        inclusion: of each gate, before the last decisions.
        inclusion_error: mean absolute difference from the reference's, over gates and runs.
        worst_error: the largest.
        nll: mean negative log-likelihood of a test example, nats.
        total_variation: of the predictive probabilities of the classes from the reference's, mean over test examples.
    """

    name: str
    runs: int
    inclusion: tuple[float, ...]
    inclusion_error: float
    worst_error: float
    nll: float
    total_variation: float


@dataclass(frozen=True, repr=False)
class GuideErrors:
    """All methods beside the reference.

    Attributes:
        gates: their names.
        rows: the reference first.
        reference: its draws.
    """

    gates: tuple[str, ...]
    rows: tuple[GuideError, ...]
    reference: "NutsDraws"

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A row a method, in Markdown."""
        heads = ["method", "runs", *self.gates, "mean error", "worst", "test NLL", "total variation"]
        lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
        for row in self.rows:
            numbers = [*row.inclusion, row.inclusion_error, row.worst_error, row.nll, row.total_variation]
            lines.append([row.name, str(row.runs), *("-" if n != n else f"{n:.3f}" for n in numbers)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def to_frame(self) -> "pandas.DataFrame":
        """A pandas table with a row a method."""
        import pandas

        rows = [
            {
                **dict(zip(self.gates, row.inclusion, strict=True)),
                **{name: getattr(row, name) for name in ("inclusion_error", "worst_error", "nll", "total_variation")},
            }
            for row in self.rows
        ]
        return pandas.DataFrame(rows, index=[row.name for row in self.rows])


def two_classes(examples: int = 60, inputs: int = 5, seed: int = 0, test: int = 500) -> Data:
    """Two classes by the first input, a little by the second, less by the third, and by no other; all N(0, 1).

    Raises:
        SettingError: there are too few examples or inputs.
    """
    check_integer("examples", examples, 10)
    check_integer("inputs", inputs, 3)
    random = np.random.default_rng(seed)
    x = random.normal(size=(examples + 100 + test, inputs)).astype(np.float32)
    logit = 2.5 * x[:, 0] + 1.2 * x[:, 1] + 0.6 * x[:, 2]
    y = (random.random(len(x)) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    first, second = examples, examples + 100
    splits = [(x[:first], y[:first]), (x[first:second], y[first:second]), (x[second:], y[second:])]
    return from_tensors(*splits[0], validation=splits[1], test=splits[2], name=f"two classes, {examples} examples")


def guide_errors(
    data: Data | None = None,
    *,
    price: float = 2.0,
    slab: float = 1.0,
    width: int = 3,
    methods: Sequence[str] = METHODS,
    epochs: int = 600,
    seeds: int = 3,
    draws: int = 300,
    chains: int = 3,
    say: Say | None = None,
) -> GuideErrors:
    """Compare inclusion probabilities and predictions with those of the exact posterior.

    The network has one hidden layer, whole; its inputs have gates, of which there may be 8.

    Args:
        data: to classify; None for `two_classes()`.
        price: nats of a gate; the prior log odds of an open one are minus that.
        slab: standard deviation of the weights' prior.
        width: hidden units.
        methods: of `METHODS`.
        epochs: of every run.
        seeds: runs of each method.
        draws: of the reference, a chain; half as many before them are left out.
        chains: of the reference.
        say: called with a line about what is done.

    Raises:
        SettingError: the data are no classes, there are too many gates, or a number cannot be used.
    """
    data = two_classes() if data is None else data
    if data.task.name != "classification":
        raise SettingError(f"the task of {data.name} is {data.task.name!r}: predictions of classes are compared")
    check_integer("seeds", seeds, 1)
    check_number("price", price, 0.0)
    tell = say or (lambda _: None)
    make = partial(
        prune, "mlp", data, widths=(width,), inputs="all", keep=["fc1"], batch_size=min(20, len(data.train)),
        progress=False,
    )  # fmt: skip
    tell("reference")
    begun = make(method="dense", epochs=0)
    reference = begun.nuts(price=price, slab=slab, draws=draws, chains=chains, progress=None)
    inputs, labels = next(iter(data.test.batches(len(data.test))))
    truth = _probabilities_of(reference, begun, inputs)
    compare = partial(_row, reference=reference.inclusion, truth=truth, labels=labels)
    rows = [compare(REFERENCE, [(reference.inclusion, truth)])]
    for method in methods:
        found = []
        for seed in range(seeds):
            tell(f"{method}, seed {seed}")
            found.append(_run_of(make, method, epochs, seed, price, slab, inputs))
        rows.append(compare(method, found))
    rows += _at_fixed_weights(make, epochs, seeds, price, slab, len(data.train), inputs, compare, tell)
    return GuideErrors(tuple(reference.names), tuple(rows), reference)


def _run_of(
    make: Callable[..., Pruned], method: str, epochs: int, seed: int, price: float, slab: float, inputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Inclusion probabilities [J] of a run before its last decisions, and what its network predicts [N, K]."""
    options: dict[str, Any] = {"slab": slab}
    if method == "spike-slab":
        options |= {"inclusion": 1 / (1 + exp(price)), "input_gates": True}
        settings: dict[str, Any] = {}
    else:
        settings = {"price": price} | _QUIET
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        pruned = make(method=method, epochs=epochs, seed=seed, options=options, **settings)
    assert pruned.posterior is not None  # these methods have one
    return pruned.posterior.inclusion_probability.double(), _predicted(pruned, inputs)


def _at_fixed_weights(
    make: Callable[..., Pruned], epochs: int, seeds: int, price: float, slab: float, size: int, inputs: Tensor,
    compare: Callable[..., GuideError], tell: Say,
) -> list[GuideError]:  # fmt: skip
    """Gibbs draws and the exact posterior of gates at the weights of dense networks, and those networks themselves."""
    gibbs, exact, whole = [], [], []
    for seed in range(seeds):
        tell(f"gates at fixed weights, seed {seed}")
        dense = make(method="dense", epochs=epochs, seed=seed, **_QUIET, options={"fixed_decay": 1 / (size * slab**2)})
        drawn = dense.gibbs(price=price, draws=250, chains=4, progress=False)
        gibbs.append((drawn.inclusion, _mean_of(dense, drawn.draws)))
        truth = dense.exact(price=price, progress=False)
        exact.append((truth.inclusion, _mean_of(dense, truth.sample(2000))))
        whole.append((torch.full_like(drawn.inclusion, torch.nan), _predicted(dense, inputs)))
    return [
        compare(f"{GIBBS} at dense weights", gibbs),
        compare(f"{EXACT} at dense weights", exact),
        compare(ALL_OPEN, whole),
    ]


def _row(
    name: str, found: Sequence[tuple[Tensor, Tensor]], *, reference: Tensor, truth: Tensor, labels: Tensor
) -> GuideError:
    """A method's row, from inclusion probabilities and predictions of its runs."""
    inclusion = torch.stack([one for one, _ in found])
    errors = (inclusion - reference).abs()
    said = [predicted.double() for _, predicted in found]
    nll = [float(-one.gather(1, labels[:, None]).clamp_min(1e-300).log().mean()) for one in said]
    apart = [float(0.5 * (one - truth).abs().sum(1).mean()) for one in said]
    mean = tuple(inclusion.mean(0).tolist())
    return GuideError(
        name, len(found), mean, float(errors.mean()), float(errors.max()), sum(nll) / len(nll), sum(apart) / len(apart)
    )


@torch.no_grad()
def _predicted(pruned: Pruned, inputs: Tensor) -> Tensor:
    """Probabilities [N, K] that the network which is kept gives."""
    with evaluating(pruned.network):
        found: Tensor = pruned.network(inputs).double().softmax(1)
    return found


def _mean_of(pruned: Pruned, gates: Tensor) -> Tensor:
    """Mean probabilities [N, K] under draws of the gates."""
    return pruned.predictive(gates).outputs.double().softmax(1)


@torch.no_grad()
def _probabilities_of(draws: "NutsDraws", pruned: Pruned, inputs: Tensor) -> Tensor:
    """The posterior's own mean probabilities [N, K], over weights and gates."""
    weights = {name: weight.flatten(0, 1) for name, weight in draws.weights.items()}
    chances = draws.probability.flatten(0, 1)
    places = torch.linspace(0, len(chances) - 1, min(MOST_DRAWS, len(chances))).round().long()
    network, wide = pruned.network.double(), inputs.double()
    rows = draws.settings.repeat_interleave(len(wide), 0)
    repeated = wide.repeat(len(draws.settings), *[1] * (wide.dim() - 1))
    gating, total = Gating(network, pruned.structure), torch.zeros(())
    try:
        with evaluating(network), gating.applied(rows):
            for place in places:
                said = functional_call(network, {name: weight[place] for name, weight in weights.items()}, (repeated,))
                each = said.softmax(1).unflatten(0, (len(draws.settings), len(wide)))
                total = total + (chances[place][:, None, None] * each).sum(0)
    finally:
        gating.remove()
    return total / len(places)


def main() -> None:
    """Write the table and the reference's own figures; what is done goes to standard error."""
    found = guide_errors(say=lambda line: None if sys.stderr is None else _write_line(line))
    sys.stdout.write(f"{found.table()}\n\n```\n{found.reference.table()}\n```\n")


def _write_line(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
