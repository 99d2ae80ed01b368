"""The runs of the study of parsimonious networks: one factor at a time around a base, all as data.

The constants in this file are all that was chosen, on validation data; `docs/parsimonious.md` tells how.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bayesprune.experiments.papers.rows import Row, varied
from bayesprune.run.settings import RunSettings

EPOCHS = 40
BASE_MLP = RunSettings("parsimonious", "lenet300", "mnist", epochs=EPOCHS, price=14.0)
SMALL_MLP = varied(BASE_MLP, price=None, budget="macs=9560")
BASE_LENET5 = RunSettings(
    "parsimonious", "lenet5", "mnist", epochs=EPOCHS, price=20.0, budget="macs=150k", options={"alpha": 0.9}
)
BASE_FLATTEN = varied(
    BASE_LENET5, price=None, budget="params=5000", flatten_inputs=True, options={"alpha": 0.1, "budget_share": 0.3}
)
"""Bases: the price of a gate in nats and what the last decision may leave, or a budget that prices follow."""

MLP_PRICES = (8.0, 20.0, 30.0, 45.0)
LENET5_PRICES = (30.0, 60.0)
MLP_COST_PRICE, LENET5_EQUAL_PRICE = 40.0, 20.0
SMALL_PRICE = 60.0
"""A fixed price that ends near the small base's budget."""

COST_RAMP, SLOW_RAMP = 0.5, 0.8
"""Share of the pruning phase over which prices rise, where they do."""

DENSE_WIDTHS = {"lenet300": (300, 100), "lenet5": (20, 50, 500)}

QUICK_EPOCHS = {"lenet300": 60, "lenet5": 20}
QUICK_PRICE = round((3_500 / 55_000) ** 0.4, 3)
"""The quick study's prices over the whole one's: as the default price depends on the number of training images."""

_FIVE, _TWO, _ONE = tuple(range(5)), (0, 1), (0,)


def plan(repeats: int = 1) -> list[Row]:
    """The rows of the study; runs that several of them share are made once, and each row has its seeds."""
    return [*_mlp(), *_lenet5()]


def quick(row: Row) -> Row:
    """The short runs of a row: fewer seeds, fewer epochs, and prices for fewer images."""
    price = row.settings.price
    scaled = round(price * QUICK_PRICE, 3) if isinstance(price, float) else price
    settings = replace(row.settings, epochs=QUICK_EPOCHS[row.network], price=scaled)
    return replace(row, settings=settings, seeds=row.seeds[: row.quick])


def scale_of(settings: RunSettings) -> float:
    """The starting widths over the usual ones."""
    usual = DENSE_WIDTHS[settings.network]
    return (settings.widths or usual)[0] / usual[0]


def start_of(settings: RunSettings) -> float:
    """The inclusion probabilities at the start."""
    return float(settings.options.get("start", 0.5))


def kind_of(settings: RunSettings) -> str:
    """The kind of price: by default equal without convolutions, by cost with them."""
    return str(settings.options.get("price_kind") or ("equal" if settings.network == "lenet300" else "cost"))


def is_ramped(settings: RunSettings) -> bool:
    """Whether prices rise at first: by default equal ones do."""
    share = settings.options.get("ramp_share")
    return kind_of(settings) == "equal" if share is None else share > 0.0


def _mlp() -> list[Row]:
    """LeNet-300-100, which has gates on its inputs by default."""
    base = BASE_MLP
    return [
        Row("base", "base", base, _FIVE, 2),
        Row("small", "small", SMALL_MLP, _FIVE, 1),
        Row("dense", "dense", _dense(base), _TWO, 1),
        _widths(base, 0.5, _ONE),
        _widths(base, 1, _FIVE, 2),
        _widths(base, 2, _FIVE, 1),
        _widths(base, 4, _FIVE),
        _start(base, 0.25, _ONE),
        _start(base, None, _FIVE, 2),
        _start(base, 0.75, _FIVE),
        _start(base, 0.9, _FIVE, 1),
        *_prices(base, MLP_PRICES, _ONE),
        *_estimators(base, {"salient-flips": _ONE, "linearised-flips": _TWO, "straight-through": _ONE,
                            "uniform-flips": _ONE}),
        *_price_kinds(base, MLP_COST_PRICE, _ONE),
        *_beyond(base, {
            "no consistency": ({"consistency": 0.0}, 3),
            "learnt noise": ({"options": {"learnt_noise": 1e-4}}, 2),
            "gates estimated every 4 steps once small": ({"options": {"estimate_every": 4}}, 2),
            "removal by the attraction set": ({"options": {"removal": "attraction"}}, 2),
        }),
        *_beyond(SMALL_MLP, {
            f"fixed price {SMALL_PRICE:g}": ({"budget": None, "price": SMALL_PRICE}, 2),
            "price rising slowly over half of the epochs": (
                {"budget": None, "price": SMALL_PRICE, "options": {"prune_share": 0.5, "ramp_share": SLOW_RAMP}}, 2,
            ),
        }),
    ]  # fmt: skip


def _lenet5() -> list[Row]:
    """LeNet-5, without and with gates on the inputs of its first linear layer."""
    base = BASE_LENET5
    return [
        Row("base", "base", base, _FIVE, 1),
        Row("flatten", "flatten gates", BASE_FLATTEN, _FIVE, 1),
        Row("dense", "dense", _dense(base), _ONE, 1),
        *_prices(base, LENET5_PRICES, _ONE),
        *_estimators(base, {"salient-flips": _ONE, "straight-through": _ONE}),
        *_price_kinds(base, LENET5_EQUAL_PRICE, _ONE),
        _start(base, 0.25, _ONE),
        _start(base, None, _FIVE, 1),
        _start(base, 0.9, _ONE, 1),
        _widths(base, 0.5, _ONE, 1),
        _widths(base, 1, _FIVE, 1),
        _widths(base, 2, _ONE),
        _widths(base, 4, _ONE),
    ]


def _beyond(base: RunSettings, others: dict[str, tuple[dict[str, Any], int]]) -> list[Row]:
    """What was tried past the recipe: a base, and each try with so many seeds."""
    factor = "beyond small" if base == SMALL_MLP else "beyond"
    rows = [Row(factor, f"{'small ' if base == SMALL_MLP else ''}base", base, _FIVE, _quick_seeds(base))]
    for place, (name, (changes, seeds)) in enumerate(others.items()):
        rows.append(Row(factor, name, varied(base, **changes), _FIVE[:seeds], int(place == 0)))
    return rows


def _dense(base: RunSettings) -> RunSettings:
    """Plain training of the same length."""
    return RunSettings("dense", base.network, base.data, epochs=base.epochs)


def _prices(base: RunSettings, others: Sequence[float], seeds: tuple[int, ...]) -> list[Row]:
    """The base among other prices, lowest first; the quick study takes the highest."""
    rows = [Row("price", f"{other:g}", varied(base, price=other, budget=None), seeds) for other in others]
    rows[-1] = replace(rows[-1], quick=1)
    rows.append(Row("price", f"{base.price:g} (base)", base, _FIVE, _quick_seeds(base)))
    return sorted(rows, key=lambda row: float(row.settings.price or 0.0))


def _widths(base: RunSettings, scale: float, seeds: tuple[int, ...], quick: int = 0) -> Row:
    """Another size at the start."""
    widths = tuple(round(scale * width) for width in DENSE_WIDTHS[base.network])
    settings = base if scale == 1 else varied(base, widths=widths)
    mark = " (base)" if scale == 1 else ""
    return Row("widths", f"x{scale:g}, {'-'.join(map(str, widths))}{mark}", settings, seeds, quick)


def _start(base: RunSettings, start: float | None, seeds: tuple[int, ...], quick: int = 0) -> Row:
    """Other inclusion probabilities at the start; None for those of the base."""
    settings = base if start is None else varied(base, options={"start": start})
    mark = " (base)" if start is None else ""
    return Row("start", f"{start_of(settings):g}{mark}", settings, seeds, quick)


def _estimators(base: RunSettings, others: dict[str, tuple[int, ...]]) -> list[Row]:
    """The base and other estimators of the gates' gradient; the quick study takes the first of them."""
    rows = [Row("estimator", f"{base.estimator} (base)", base, _FIVE, _quick_seeds(base))]
    for place, (name, seeds) in enumerate(others.items()):
        rows.append(Row("estimator", name, varied(base, estimator=name), seeds, int(place == 0)))
    return rows


def _price_kinds(base: RunSettings, other_price: float, seeds: tuple[int, ...]) -> list[Row]:
    """Both kinds of price, each with and without a ramp; the quick study takes three of the four at most."""
    rows = []
    for kind in ("equal", "cost"):
        for ramped in (True, False):
            label = f"{kind}, {'ramp' if ramped else 'no ramp'}"
            same_kind = kind == kind_of(base)
            if same_kind and ramped == is_ramped(base):
                rows.append(Row("price kind", f"{label} (base)", base, _FIVE, _quick_seeds(base)))
                continue
            share = (None if kind == "equal" else COST_RAMP) if ramped else 0.0
            options = {"ramp_share": share} | ({} if same_kind else {"price_kind": kind})
            settings = varied(base, price=base.price if same_kind else other_price, budget=None, options=options)
            rows.append(Row("price kind", label, settings, seeds, int(same_kind or (kind == "cost" and ramped))))
    return rows


def _quick_seeds(base: RunSettings) -> int:
    """How many seeds of the base the quick study takes."""
    return 2 if base.network == "lenet300" else 1
