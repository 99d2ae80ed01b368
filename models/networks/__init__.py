"""Networks by name."""

from bayesprune.models.networks.conv4 import Conv4
from bayesprune.models.networks.lenet import LeNet5, LeNet300

__all__ = ["Conv4", "LeNet5", "LeNet300"]
