"""Networks by name."""

from bayesprune.models.networks.conv4 import Conv4
from bayesprune.models.networks.lenet import LeNet5, LeNet300
from bayesprune.models.networks.perceptron import MLP

__all__ = ["MLP", "Conv4", "LeNet5", "LeNet300"]
