"""Neural tangent transfer in the table of methods (Liu and Zenke, arXiv 2006.08228)."""

from torch import Tensor

from bayesprune.budgets.limits import Limits
from bayesprune.data import Data, last_batch, load
from bayesprune.data.placing import placed
from bayesprune.errors import DataError, NetworkError, SettingError
from bayesprune.pruners.budgeted import checked_limits
from bayesprune.pruners.controls import check_movable
from bayesprune.pruners.reading import normal_of, options_of
from bayesprune.pruners.trainings import stages_of
from bayesprune.run.budget import LATENCY, parse_budgets
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings
from bayesprune.structure import fixed_masks
from bayesprune.tangent.objective import TangentTransfer
from bayesprune.tangent.options import TransferOptions
from bayesprune.tangent.transfer import Transfer
from bayesprune.training import Phase, TrainState, adam, constant
from bayesprune.training.network_kinds import network_kind

USUAL = {"perceptron": (2_000, 1e-4), "convolutional": (300, 1e-5)}
"""Steps and weight decay of the transfer, by kind of network."""


class NeuralTangentTransfer:
    """A sparse student learns its dense teacher's outputs and tangent kernel without labels, then is trained with them.

    With a density its weights are masked, with a budget it loses whole channels.
    """

    name = "ntt"
    summary = "neural tangent transfer: a sparse network that is to train like the dense one, found without labels"
    takes = frozenset({"density", "budget"})
    needs = takes
    options = TransferOptions

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(self.options, settings, at_start=True)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """The transfer, then training of the student for all of the run's epochs.

        Raises:
            BudgetError: no network of this kind meets the budget.
            NetworkError: channels are to be removed, by a budget or by `trim`, and the network's cannot be.
            DataError: the other data that it is to transfer on have inputs of another shape.
            SettingError: an option is not allowed, or density and budget are both given.
        """
        options = options_of(TransferOptions, settings, at_start=True)
        if settings.density is not None and settings.budget is not None:
            raise SettingError(f"{self.name} takes density=... or budget=..., not both")
        if settings.budget is not None and (given := settings.options.keys() & {"masks", "first", "least", "trim"}):
            raise SettingError(f"{', '.join(sorted(given))}: for masks of weights; leave out, or give density=...")
        budgets = () if settings.budget is None else parse_budgets(settings.budget)
        if any(budget.kind == LATENCY for budget in budgets):
            raise SettingError(
                f"{self.name} takes budgets of macs and params, and none of latency: {settings.budget!r}"
            )
        if settings.budget is not None and options.control not in (None, "fresh"):
            raise SettingError(
                f"control={options.control!r} moves masks of weights about: give density=..., or leave it out"
            )
        check_movable(options.control, state)
        _check_inputs(state)
        if settings.budget is not None or options.trim:
            state.need_structure()
        limits = checked_limits(state, budgets) if budgets else None
        usual_steps, usual_decay = USUAL[network_kind(state.network)]
        steps = options.steps or usual_steps
        decay = usual_decay if options.transfer_decay is None else options.transfer_decay
        density = settings.density if isinstance(settings.density, float) else None
        objective = TangentTransfer(
            _density(settings, limits, state), options.kernel_weight, decay, options.kernel == "projected"
        )
        own = data if options.transfer_data is None else placed(_other(options.transfer_data, data), state.place)
        _check_last_batch(own, options.transfer_batch, steps)
        transfer = Transfer(options, own, objective, steps, density, limits, dict(state.masks))
        first = Phase(
            "transfer", steps, objective, adam(options.transfer_rate), constant,
            updates=[transfer.update], start=transfer.begin, batch_size=options.transfer_batch, train=own.train,
        )  # fmt: skip
        stages = stages_of(settings, options, state, data)
        describe = stages.describe()

        def entries(at: TrainState) -> dict[str, object]:
            return transfer.describe(at) | ({} if describe is None or at.phase == 0 else describe(at))

        phases = [first, stages.last(stages.epochs, transfer.hand_over)]
        return Plan(phases, entries, dense=stages.dense_objective())


def _check_inputs(state: TrainState) -> None:
    """Refuse inputs through which there is no tangent kernel here.

    Raises:
        NetworkError: they are several tensors, or tokens, or a layer has a fixed mask.
    """
    if fixed := sorted(fixed_masks(state.network)):
        raise NetworkError(
            f"tangent transfer counts all entries of {fixed[0]!r}, of which a fixed mask takes some away: use another "
            "method, such as snip or magnitude"
        )
    if not isinstance(state.example, Tensor) or not state.example.is_floating_point():
        raise NetworkError(
            "tangent transfer takes networks with one input tensor of floats: for several inputs, or tokens, use "
            "another method, such as snip"
        )


def _density(settings: RunSettings, limits: Limits | None, state: TrainState) -> float:
    """By which the decay is divided: of the weights, or the share of the cost that the budget leaves."""
    if limits is None:
        assert isinstance(settings.density, float)
        return settings.density
    pairs = zip(limits.whole(state), limits.numbers(state), strict=True)
    return min(1.0, *(number / whole for whole, number in pairs))


def _check_last_batch(data: Data, size: int, steps: int) -> None:
    """Refuse a last batch of one example, which has no halves, before any step is made.

    Raises:
        SettingError: names the batch size.
    """
    count = len(data.train)
    if last_batch(data.train, size) == 1 and steps > count // size:
        raise SettingError(
            f"transfer_batch={size} leaves one of {count:,} examples to the last batch, which has no two halves to "
            "take a tangent kernel between: choose another"
        )


def _other(name: str, data: Data) -> Data:
    """Other data for the transfer.

    Raises:
        DataError: their inputs have another shape.
    """
    other = load(name)
    if other.input_shape != data.input_shape:
        raise DataError(
            f"transfer_data={name!r} has inputs of shape {other.input_shape}, {data.name} of {data.input_shape}: "
            "transfer on data of the same shape"
        )
    return other
