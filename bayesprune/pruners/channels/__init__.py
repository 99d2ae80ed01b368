"""Scores of channels, each `name(problem) -> Tensor [J]`: the larger, the longer a channel stays."""

from bayesprune.pruners.channels.batchnorm import batchnorm_scale, channel_scales
from bayesprune.pruners.channels.median import geometric_median
from bayesprune.pruners.channels.taylor import taylor_units

__all__ = ["batchnorm_scale", "channel_scales", "geometric_median", "taylor_units"]
