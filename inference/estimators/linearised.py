"""All flips of all layers at once, in closed form, with the logits linearised in each gate."""

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.estimators.base import GateProblem, draw_sets, surrogate


class LinearisedFlips:
    """The loss difference of every flip, as if the logits were linear in the flipped gate.

    One backward pass a class gives the slopes of the logits a_k in every gate of every example; then

        d_j = mean_n (2 z_nj - 1) (l(a_n) - l(a_n + (1 - 2 z_nj) da_n/dz_nj)),

    the softmax taken as it is. That is exact for gates before a linear last layer and keeps what curvature leaves out,
    the saturation of the loss; for earlier gates it ignores that rectifiers switch. Labels of K classes only.
    """

    name, unbiased = "linearised-flips", False

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """Mean negative log-likelihood with the estimate attached."""
        if not problem.per_example:
            raise SettingError(
                "estimator 'linearised-flips' needs gates for each example, and those of this network are global "
                "(attention, recurrent layers or weights that functions use): take 'curvature'"
            )
        sampled = draw_sets(problem, theta)
        gates = sampled.clone().requires_grad_()
        predicted = problem.predict(gates)
        logits = getattr(predicted, "logits", None)
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            raise SettingError("estimator 'linearised-flips' needs labels that are classes: take 'curvature'")
        labels = problem.labels()
        if isinstance(labels, tuple):
            raise SettingError("estimator 'linearised-flips' takes no weights of examples: take 'curvature'")
        losses = -predicted.log_prob(labels)
        with torch.no_grad():
            flipped = self._flipped(logits, gates, sampled, labels)
            difference = (2 * sampled - 1) * (losses.unsqueeze(1) - flipped)
        loss: Tensor = losses.mean() + surrogate(theta, difference.mean(0))
        return loss

    def _flipped(self, logits: Tensor, gates: Tensor, sampled: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihoods [B, J] with gate j flipped."""
        change, total, chosen = 1 - 2 * sampled, torch.full_like(sampled, -torch.inf), torch.empty_like(sampled)
        for number in range(logits.shape[1]):
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(logits[:, number].sum(), gates, retain_graph=True)
            moved = torch.addcmul(logits[:, number : number + 1], change, slope)
            total = torch.logaddexp(total, moved)
            chosen = torch.where((labels == number).unsqueeze(1), moved, chosen)
        return total - chosen
