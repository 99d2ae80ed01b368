"""From settings to prices and budgets of the parsimonious method."""

from math import log

from bayesprune.errors import SettingError
from bayesprune.inference.options import GATE_DEFAULTS, ParsimoniousOptions
from bayesprune.models.prices import CostPrice, EqualPrice, LayerPrice, Price, parse_price
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState
from bayesprune.training.network_kinds import network_kind

DEFAULT_PRICES = {"equal": 14.0, "cost": 30.0, "network": 18_500.0}
"""Nats of training log-likelihood a gate must be worth by default on MNIST's 55,000 images; "network" is what a whole
network with sections must be worth, and a section its share of that."""

MOST_AN_EXAMPLE = 1.0
"""Nats an example that a whole network with sections is priced at by default, at most: a guess among ten classes costs
2.3, so that more would pay for a network that knows nothing. At 4 a small ResNet went whole (docs/layer-gates.md)."""

FULL_PRICE = 100
"""With fewer steps of pruning the default price is lower in proportion: what units are worth is not learnt yet."""


def default_price(kind: str, examples: int) -> float:
    """The default price for N examples: MNIST's times (N / 55,000)^0.4.

    For equal prices the two ends were chosen on validation data: 14 nats a gate on MNIST, 4.6 on the 3,500 images of
    mnist5k. That lies between a fixed price, which leaves next to nothing of a network there, and a fixed price per
    example, which leaves so much that any way of choosing units does as well. Prices by cost follow suit.
    """
    return DEFAULT_PRICES[kind] * float((examples / 55_000) ** 0.4)


def whole_price(examples: int) -> float:
    """The default price of a whole network with sections, in nats, for so many training examples."""
    return min(default_price("network", examples), MOST_AN_EXAMPLE * examples)


def make_price(
    state: TrainState, settings: RunSettings, options: ParsimoniousOptions, examples: int, steps: int = FULL_PRICE
) -> Price:
    """The price that settings and options ask for.

    Args:
        state: of the run.
        settings: of the run.
        options: the method's own.
        examples: training examples N.
        steps: of pruning; a default price that follows no budget is lower with fewer than `FULL_PRICE`.

    Raises:
        BudgetError: it is not a price.
        SettingError: gamma and a price are both given, or prices are given for groups that are not there.
    """
    if options.gamma is not None and settings.price is not None:
        raise SettingError("give gamma or price, not both: price = ln gamma")
    kind = options.price_kind or GATE_DEFAULTS[network_kind(state.network)].price_kind
    if options.gamma is not None:
        asked: float | dict[str, float] = log(options.gamma)
    elif settings.price is not None:
        asked = parse_price(settings.price)
    else:
        short = 1.0 if settings.budget is not None else min(1.0, steps / FULL_PRICE)
        asked = short * default_price(kind, examples)
    if isinstance(asked, dict):
        price = LayerPrice(asked)
        price.check(state.structure)
        return price
    if kind == "equal":
        return EqualPrice(asked)
    return CostPrice(asked, options.alpha, state.structure.gate_count, state.initial_macs, state.initial_params)
