"""Methods that prune single weights: score x allocation x schedule, with masks."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.pruners.allocation import Layers
from bayesprune.pruners.controls import check_movable, controlled
from bayesprune.pruners.goals import WeightGoal
from bayesprune.pruners.options import WeightOptions
from bayesprune.pruners.problem import ALL, Problem, WeightScore, check_finite
from bayesprune.pruners.reading import normal_of, options_of
from bayesprune.pruners.rewinding import Remember, rewind
from bayesprune.pruners.schedule import Rounds
from bayesprune.pruners.stages import Stages
from bayesprune.pruners.trainings import stages_of
from bayesprune.pruners.trimming import trimmed
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings
from bayesprune.training import Phase, Start, TrainState
from bayesprune.training.initial import INITIAL

Correct = Callable[[Problem, Mapping[str, Tensor]], None]
"""Changes the weights that stay once the masks are known."""

Choose = Callable[[Layers], dict[str, Tensor]]
"""From the scores of what is alive (-inf elsewhere) to the masks of what stays."""


@dataclass(frozen=True)
class WeightPruner:
    """Keep the weights with the highest scores; the others stay at zero. Biases are never pruned.

    Attributes:
        name: in the table of methods.
        summary: one line.
        score: of the weights.
        usual: the method's own defaults of `WeightOptions`.
        at_start: prune before any training.
        options: the method's settings.
        correct: changes the weights that stay; None leaves them as they are.
    """

    name: str
    summary: str
    score: WeightScore
    usual: Mapping[str, Any] = field(default_factory=dict)
    at_start: bool = False
    options: type[WeightOptions] = WeightOptions
    correct: Correct | None = None
    takes = frozenset({"density", "shares"})
    needs = frozenset({"density"})

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(self.options, settings, self.usual, at_start=self.at_start)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Training, rounds of pruning, training under masks.

        Raises:
            BudgetError: no network of this kind has the density.
            NetworkError: `trim` is asked for, and the network's channels cannot be removed.
            SettingError: an option is not allowed, or the rounds need more epochs.
        """
        options = options_of(self.options, settings, self.usual, at_start=self.at_start)
        if options.trim:
            state.need_structure()
        assert settings.density is not None
        size = WeightGoal.of(settings, options, Problem.of(state, data).sizes(options.matrices))
        rounds = options.rounds_between(size.total, size.goal)
        score = options.scored(self.score)
        prunes: list[Start] = [
            partial(
                mask_weights, data=data, score=score, choose=partial(size.choose, rounds, number), correct=self.correct,
                only=None if options.matrices == ALL else frozenset(size.sizes),
            )
            for number in range(1, rounds.count + 1)
        ]  # fmt: skip
        stages = stages_of(settings, options, state, data)
        if options.control is not None:
            check_movable(options.control, state)
            self._check_untrained("control", options, rounds)
            prunes = controlled(prunes, options.control, options.initial)
        if options.initial != "own":
            self._check_untrained("initial", options, rounds)
            prunes = [partial(_draw_and_prune, INITIAL[options.initial], prunes[0]), *prunes[1:]]
        if options.rewind is not None:
            phases = rewound(stages, prunes, options.rewind, trimmed if options.trim else None)
        else:
            if options.trim:
                prunes[-1] = trimmed(prunes[-1])
            phases = stages.around(prunes, at_start=self.at_start)
        return Plan(phases, stages.describe(), dense=stages.dense_objective())

    def _check_untrained(self, name: str, options: WeightOptions, rounds: Rounds) -> None:
        """Refuse an option that is about untrained weights where weights are trained before the last round."""
        if not (self.at_start or options.prune_share == 0) or (rounds.count > 1 and options.retrain > 0):
            raise SettingError(
                f"{name}={getattr(options, name)!r} is for a choice before training, and {self.name} trains before it "
                "has chosen: set prune_share=0 (and retrain=0 with several rounds)"
            )


def _draw_and_prune(draw: Callable[[nn.Module], None], prune: Start, state: TrainState) -> None:
    """Give the network its initial weights, then choose among them."""
    draw(state.network)
    prune(state)


def mask_weights(
    state: TrainState,
    data: Data,
    score: WeightScore,
    choose: Choose,
    correct: Correct | None = None,
    only: Collection[str] | None = None,
) -> None:
    """Give a state the masks of the weights that stay, and set the others to zero; they are chosen on the CPU.

    Args:
        state: changed in place; what its masks hold at zero stays there.
        data: for scores that need some.
        score: of the weights.
        choose: the masks, from the scores.
        correct: changes the weights that stay.
        only: parameter names of the weights to choose among; None for all. The others stay as they are.

    Raises:
        BudgetError: a layer would lose all its weights.
        NetworkError: weights or scores that are not finite, named by layer.
    """
    problem = Problem.of(state, data)
    chosen = {name: weight for name, weight in problem.weights().items() if only is None or name in only}
    weights = {name: weight.detach().cpu() for name, weight in chosen.items()}
    scores = score(problem)
    check_finite("scores", scores)
    left = alive({name: scores[name].cpu() for name in weights}, state.masks)
    masks = _chosen(left, weights, problem.places(), choose)
    masks = {name: mask.to(state.place.device) for name, mask in masks.items()}
    if correct is not None:
        correct(problem, masks)
    state.masks = {**state.masks, **masks}
    state.apply_masks()


def _chosen(
    scores: Mapping[str, Tensor], weights: Mapping[str, Tensor], places: Mapping[str, Tensor], choose: Choose
) -> dict[str, Tensor]:
    """The masks of what stays; who chooses sees of a layer with a fixed mask nothing but its weights, as a list."""
    masked = {name: places[name] for name in scores if name in places}
    shapes = {name: tuple(place.shape) for name, place in masked.items()}
    seen = [{**whole, **{name: whole[name][place] for name, place in masked.items()}} for whole in (scores, weights)]
    found = choose(Layers(seen[0], seen[1], shapes))
    for name, place in masked.items():
        found[name] = torch.zeros(place.shape).masked_scatter_(place, found[name])
    return found


def alive(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scores with -inf at what was pruned before."""
    return {
        name: score.masked_fill(masks[name].to(score.device) == 0, float("-inf")) if name in masks else score
        for name, score in scores.items()
    }


def rewound(
    stages: Stages, prunes: Sequence[Start], step: int, finish: Callable[[Start], Start] | None = None
) -> list[Phase]:
    """Equally long trainings from the same weights, each after another round of pruning.

    Args:
        stages: of the run.
        prunes: the rounds.
        step: of the first training whose weights all others start from; 0 for the initial ones.
        finish: adds to the last round, after its rewinding.

    Raises:
        SettingError: there are fewer epochs than trainings, or fewer steps in the first.
    """
    trainings = len(prunes) + 1
    each, over = divmod(stages.epochs, trainings)
    if each < 1 or step >= stages.steps(each):
        least = step // stages.steps(1) + 1
        raise SettingError(
            f"epochs={stages.epochs} is too few: {len(prunes)} rounds of pruning make {trainings} trainings, and each "
            f"goes beyond step {step}, to which the weights go back: give epochs={trainings * least} or more, or a "
            "larger density or rate for fewer rounds"
        )
    first = stages.training("train", each, start=Remember(step).at_start, updates=[Remember(step)])
    starts: list[Start] = [partial(_prune_and_rewind, prune) for prune in prunes]
    if finish is not None:
        starts[-1] = finish(starts[-1])
    rounds = [stages.training(f"round {n}", each, start=start) for n, start in enumerate(starts[:-1], 1)]
    return [first, *rounds, stages.last(each + over, starts[-1])]


def _prune_and_rewind(prune: Start, state: TrainState) -> None:
    """A round, then the remembered weights under its masks."""
    prune(state)
    rewind(state)
