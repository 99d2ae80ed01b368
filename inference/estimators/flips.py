"""Unbiased estimators that flip single gates of single examples and compare losses."""

import torch
from torch import Tensor

from bayesprune.devices import wide
from bayesprune.errors import SettingError
from bayesprune.inference.estimators.base import GateProblem, attached, draw_sets, negative_log_likelihood, surrogate


class _Flips:
    """Draws pairs (example, gate) and compares the loss with the gate flipped to the loss as it was.

    Batch normalisation couples the examples of a batch; there the differences are taken with its running statistics.
    Under one set of gates for the mini-batch a flip is one for all B examples, and so many fewer are drawn.
    """

    unbiased = True

    def __init__(self, flips: int = 300) -> None:
        if flips < 1:
            raise SettingError(f"flips a step must be >= 1, not {flips}")
        self.flips = flips

    def _count(self, problem: GateProblem) -> int:
        """Pairs M of a step."""
        return self.flips if problem.per_example else max(1, self.flips // problem.size)

    def _differences(self, problem: GateProblem, gates: Tensor, base: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """l(z_j = 1) - l(z_j = 0) for each drawn pair [M]; of the sum over all examples where gates are global."""
        if not problem.per_example:
            return self._global_differences(problem, gates[0], columns)
        with torch.no_grad(), problem.apart() as coupled:
            flipped = gates[rows]
            before = negative_log_likelihood(problem, flipped, rows) if coupled else base.detach()[rows]
            pairs = torch.arange(len(rows), device=rows.device)
            drawn = flipped[pairs, columns]
            flipped[pairs, columns] = 1 - drawn
            after = negative_log_likelihood(problem, flipped, rows)
            return (2 * drawn - 1) * (before - after)

    def _global_differences(self, problem: GateProblem, gates: Tensor, columns: Tensor) -> Tensor:
        """The same for gates [J] by whole passes; the mini-batch as it was is run again, apart."""
        found = []
        with torch.no_grad(), problem.apart():
            before = negative_log_likelihood(problem, gates[None]).sum()
            for column in columns.tolist():
                flipped = gates.clone()
                flipped[column] = 1 - flipped[column]
                after = negative_log_likelihood(problem, flipped[None]).sum()
                found.append((2 * gates[column] - 1) * (before - after))
        return torch.stack(found)


class SalientFlips(_Flips):
    """Flips drawn in proportion to their first-order effect, with that effect as control variate (recipe, A).

    q_nj = |t_nj| + floor * mean |t| over pairs; pairs are drawn by systematic sampling; the estimate is
    `(1/B) [sum_n t_nj + sum_drawn w (D_nj - t_nj)]` with w = sum(q) / (M q_nj). Unbiased whatever q is, because
    every pair that can have an effect has q > 0.

    Args:
        flips: pairs M a step, over all gates together.
        floor: share of the mean added to every pair's weight.
    """

    name = "salient-flips"

    def __init__(self, flips: int = 300, floor: float = 0.1) -> None:
        super().__init__(flips)
        if not floor > 0:
            raise SettingError(f"floor must be > 0, not {floor}: pairs that are never drawn would bias the estimate")
        self.floor = floor

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """Mean negative log-likelihood with the flip estimate attached."""
        sampled = draw_sets(problem, theta)
        gates = attached(sampled, theta)
        losses = negative_log_likelihood(problem, gates)
        (slope,) = torch.autograd.grad(losses.sum(), gates, retain_graph=True)
        weight = slope.abs()
        weight += self.floor * weight.mean() + torch.finfo(weight.dtype).tiny
        count = self._count(problem)
        drawn = systematic(weight.flatten(), count)
        rows, columns = drawn // theta.numel(), drawn % theta.numel()
        difference = self._differences(problem, sampled, losses, rows, columns)
        importance = weight.sum() / (count * weight[rows, columns])
        rest = importance * (difference - slope[rows, columns])
        correction = torch.zeros_like(theta).index_add_(0, columns, rest.to(theta.dtype)) / problem.size
        return losses.mean() + surrogate(theta, correction)


class UniformFlips(_Flips):
    """Flips drawn uniformly over all pairs, optionally with the first-order effect as control variate.

    Args:
        flips: pairs M a step.
        control: subtract each pair's first-order effect and add its sum over all pairs back.
    """

    name = "uniform-flips"

    def __init__(self, flips: int = 300, control: bool = False) -> None:
        super().__init__(flips)
        self.control = control

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """Mean negative log-likelihood with the flip estimate attached."""
        sampled = draw_sets(problem, theta)
        gates = attached(sampled, theta) if self.control else sampled
        losses = negative_log_likelihood(problem, gates)
        count = self._count(problem)
        drawn = torch.randint(sampled.numel(), (count,), device=theta.device)
        rows, columns = drawn // theta.numel(), drawn % theta.numel()
        difference = self._differences(problem, sampled, losses, rows, columns)
        if self.control:
            (slope,) = torch.autograd.grad(losses.sum(), gates, retain_graph=True)
            difference = difference - slope[rows, columns]
        scale = sampled.numel() / (count * problem.size)
        correction = torch.zeros_like(theta).index_add_(0, columns, scale * difference.to(theta.dtype))
        return losses.mean() + surrogate(theta, correction)


def systematic(weights: Tensor, count: int) -> Tensor:
    """Draw `count` indices with expected numbers proportional to weights [n], by systematic sampling."""
    cumulative = wide(weights).cumsum(0)
    numbers = torch.arange(count, dtype=cumulative.dtype, device=cumulative.device)
    points = (numbers + torch.rand((), dtype=cumulative.dtype, device=cumulative.device)) / count
    return torch.searchsorted(cumulative, points * cumulative[-1]).clamp_max(len(weights) - 1)
