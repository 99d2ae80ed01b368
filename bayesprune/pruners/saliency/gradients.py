"""What several scores need: named derivatives, and examples of every class."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from bayesprune.batches import join, parts, take
from bayesprune.errors import DataError, SettingError
from bayesprune.pruners.problem import Batch, Problem, check_finite
from bayesprune.tasks import Classification

_WALKED = 256


def gradients(value: Tensor, weights: Mapping[str, Tensor], *, create_graph: bool = False) -> dict[str, Tensor]:
    """Derivatives of a scalar by the weights' names; zero for weights on which it does not depend.

    Args:
        value: what to differentiate.
        weights: tensors that require gradients.
        create_graph: make the derivatives differentiable themselves.

    Raises:
        NetworkError: some are NaN or infinite; names the first layer that has such.
    """
    found = torch.autograd.grad(
        value, list(weights.values()), create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    named = dict(zip(weights, found, strict=True))
    check_finite("gradients", named)
    return named


def times_weights(weights: Mapping[str, Tensor], slopes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every weight times its slope, outside any graph."""
    return {name: weights[name].detach() * slope.detach() for name, slope in slopes.items()}


def balanced(problem: Problem, per_class: int) -> Batch:
    """So many training examples of every class, drawn without replacement; of a smaller class all there are.

    Of a task without classes so many for each output.

    Returns:
        Inputs and targets of B examples, B at most `per_class` times the number of classes.

    Raises:
        SettingError: `per_class` is below 1.
        DataError: a class has no example.
    """
    if per_class < 1:
        raise SettingError(f"{per_class} examples per class: at least 1 is needed")
    if not isinstance(problem.data.task, Classification):
        return problem.labelled(per_class * problem.data.task.outputs)
    classes, train = problem.data.classes, problem.data.train
    missing = torch.full((classes,), per_class)
    chosen: list[Batch] = []
    for inputs, targets in train.batches(_WALKED, seed=int(torch.randint(2**31, ()))):
        labels, place = parts(targets)[0].cpu(), parts(inputs)[0].device
        rank = one_hot(labels, classes).cumsum(0)[torch.arange(len(labels)), labels]
        taken = rank <= missing[labels]
        chosen.append((take(inputs, taken.to(place)), take(targets, taken.to(place))))
        missing -= labels[taken].bincount(minlength=classes)
        if not bool(missing.any()):
            break
    _check_present((missing == per_class).nonzero().flatten().tolist(), classes)
    return join([inputs for inputs, _ in chosen]), join([targets for _, targets in chosen])


def _check_present(absent: list[int], classes: int) -> None:
    """Refuse classes without examples."""
    if absent:
        raise DataError(
            f"the training split has no example of class {', '.join(map(str, absent))} of the {classes} classes, and "
            "this score takes examples of every class: add some, or give the number of classes that there are"
        )
