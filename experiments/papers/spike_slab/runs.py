"""The runs of the study of spike-and-slab nodes: the parts with their networks, and a row a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log1p
from typing import Any

from bayesprune.experiments.papers.rows import Row, varied
from bayesprune.run.settings import RunSettings

RECIPE = "published-recipe"
"""The part with SS-IG's 1,200 epochs, which takes hours and is made on demand only."""

RECIPE_OPTIONS: Mapping[str, Any] = {
    "slab": 1.0, "deviation": round(log1p(exp(-6.0)), 7), "gate_learning_rate": 1e-3, "deviation_learning_rate": 1e-3,
    "means_first": False,
}  # fmt: skip
"""The constants of the public code of SS-IG."""

RELATIVES = ("l0", "vib", "sbp", "bmrs", "sparse-vd", "bc-gnj", "bc-ghs")
OURS = ("parsimonious", "spike-slab-flat")
BMRS_PARAMS, BMRS_MLP_PARAMS = 7_652, 71_596
"""Parameters that BMRS_U-4 leaves of LeNet-5; of the perceptron as large a share, 51.1 % of 140,110."""

QUICK_EPOCHS = {"lenet5": 10}


@dataclass(frozen=True)
class Part:
    """A network on data, and who runs on it.

    Attributes:
        title: for people.
        network, widths, data, epochs: of its runs.
        methods: with what each needs besides. Published LeNet-5s gate the flattened features, so ours do, too.
        seeds: of every method's runs.
        quick: how many seeds of it the quick study takes.
    """

    title: str
    network: str
    widths: tuple[int, ...] | None
    data: str
    epochs: int
    methods: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    quick: int = 0

    def row(self, name: str, value: str, method: str, **settings: Any) -> Row:
        """A row of this part."""
        base = RunSettings(method, self.network, self.data, widths=self.widths, epochs=self.epochs)
        return Row(name, value, varied(base, **settings), self.seeds, self.quick)


def _plain(*methods: str, **settings: Any) -> dict[str, Mapping[str, Any]]:
    """Methods that all get the same settings."""
    return dict.fromkeys(methods, settings)


_FAMILY = _plain("spike-slab", "ss-gl", "ss-ghs", *OURS)
_SS_IG = _plain("spike-slab", *OURS)
_L0_LENET5 = {"weight": {"conv1": 10.0, "conv2": 0.5, "fc1.inputs": 0.1, "fc1": 10.0}}  # of L0's public code
_ONE, _THREE, _FIVE = (0,), (0, 1, 2), tuple(range(5))
_LENET, _PERCEPTRON = (20, 50, 800, 500), (400, 400)
PARTS: Mapping[str, Part] = {
    "mnist-mlp": Part("784-400-400 on MNIST", "lenet300", _PERCEPTRON, "mnist", 40, _FAMILY, _THREE, 1),
    "fashion-mlp": Part("784-400-400 on Fashion-MNIST", "lenet300", _PERCEPTRON, "fashion-mnist", 40, _SS_IG, _THREE),
    "mnist-lenet": Part("LeNet 20-50-800-500 on MNIST", "lenet5", _LENET, "mnist", 40, _SS_IG, _ONE),
    "fashion-lenet": Part("LeNet 20-50-800-500 on Fashion-MNIST", "lenet5", _LENET, "fashion-mnist", 40, _SS_IG, _ONE),
    "bmrs-lenet5": Part(
        "LeNet-5 6-16-120-84", "lenet5", (6, 16, 120, 84), "mnist", 50,
        _plain(*OURS, budget=f"params={BMRS_PARAMS}") | _plain("bmrs"), _FIVE, 1,
    ),
    "bmrs-mlp": Part(
        "perceptron 7 x 100", "mlp", (100,) * 7, "mnist", 50,
        _plain("parsimonious", "bmrs") | _plain("spike-slab-flat", budget=f"params={BMRS_MLP_PARAMS}"), _FIVE,
    ),
    "lenet300": Part("LeNet-300-100", "lenet300", None, "mnist", 40, _plain(*RELATIVES, *OURS), _ONE, 1),
    "lenet5": Part(
        "LeNet-5", "lenet5", None, "mnist", 20,
        _plain(*RELATIVES, *OURS, flatten_inputs=True) | {"l0": {"flatten_inputs": True, "options": _L0_LENET5}}, _ONE,
    ),
}  # fmt: skip


def plan(repeats: int = 1) -> list[Row]:
    """The rows of the study, part after part; the factor of a row is its part."""
    rows = [
        part.row(name, method, method, **settings)
        for name, part in PARTS.items()
        for method, settings in part.methods.items()
    ]
    long = PARTS["mnist-mlp"].row(
        RECIPE, "spike-slab, published recipe", "spike-slab", epochs=1200, batch_size=1024, options=dict(RECIPE_OPTIONS)
    )
    return [*rows, replace(long, seeds=_ONE, quick=0)]


def quick(row: Row) -> Row:
    """The short runs of a row: one seed, few epochs."""
    settings = replace(row.settings, epochs=QUICK_EPOCHS.get(row.network, 40))
    return replace(row, settings=settings, seeds=row.seeds[: row.quick])


def part_of(row: Row) -> str:
    """The part that a row belongs to."""
    return row.factor


def rows_of(found: Sequence[Any], name: str) -> list[Any]:
    """The rows of a part that have runs."""
    return [one for one in found if one.row.factor == name and one.records]
