"""A law over some numbers, such as a grid of parameters."""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.models.priors._settings import SCALAR, Shape


class OneOf(dist.TorchDistribution):
    """One of some numbers, each with its own probability; the value of a site is the number itself.

    Pyro sums over it where it sums over `Categorical`: `TraceEnum_ELBO`, `infer_discrete`, NUTS.

    Args:
        values: different finite numbers [K].
        weights: in proportion to their probabilities [K]; None for equal ones.

    Raises:
        SettingError: no numbers, equal ones, or weights that are no probabilities.
    """

    arg_constraints: dict[str, Any] = {}
    has_enumerate_support = True

    def __init__(self, values: Sequence[float] | Tensor, weights: Sequence[float] | Tensor | None = None) -> None:
        self.values = torch.as_tensor(values, dtype=torch.float64)  # the numbers as they are written
        usual = torch.ones_like(self.values) if weights is None else torch.as_tensor(weights, dtype=torch.float64)
        if self.values.dim() != 1 or not len(self.values) or usual.shape != self.values.shape:
            raise SettingError(
                f"values {list(self.values.shape)} and weights {list(usual.shape)}: give one or more numbers in a row, "
                "and a weight for each"
            )
        if not bool(self.values.isfinite().all()) or len(self.values.unique()) != len(self.values):
            raise SettingError(f"the values {self.values.tolist()} must be finite and different")
        if not bool(((usual >= 0) & usual.isfinite()).all()) or not bool(usual.sum() > 0):
            raise SettingError(f"the weights {usual.tolist()} must be 0 or more, and not all 0")
        self.probs = usual / usual.sum()
        super().__init__(torch.Size(), torch.Size(), validate_args=False)

    @property
    def support(self) -> Any:
        """From the least to the largest; values between have probability 0."""
        return dist.constraints.interval(float(self.values.min()), float(self.values.max()))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability; minus infinity for a number that is none of these."""
        hit = (value[..., None] - self.values).abs() <= 1e-6 * (1 + self.values.abs())
        found = (hit * self.probs).sum(-1).log().to(torch.get_default_dtype())
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))

    def sample(self, sample_shape: Shape = SCALAR) -> Tensor:
        """Numbers of shape `sample_shape + batch_shape`."""
        shape = torch.Size(sample_shape) + self.batch_shape
        drawn = torch.multinomial(self.probs, max(1, shape.numel()), replacement=True)
        values = self.values.to(torch.get_default_dtype())
        return values[drawn].reshape(shape) if shape.numel() else values.new_zeros(shape)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """The numbers [K, ...], in their order."""
        found = self.values.to(torch.get_default_dtype()).reshape(-1, *([1] * len(self.batch_shape)))
        return found.expand(-1, *self.batch_shape) if expand else found

    def expand(self, batch_shape: Any, _instance: Any = None) -> "OneOf":
        """The same for a larger batch."""
        found = OneOf(self.values, self.probs)
        found._batch_shape = torch.Size(batch_shape)
        return found
