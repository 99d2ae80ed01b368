"""Networks by name."""

from bayesprune.models.networks.cell_net import CellNet
from bayesprune.models.networks.conv4 import Conv4
from bayesprune.models.networks.graph_mlp import GraphMLP
from bayesprune.models.networks.graph_rnn import GraphRNN
from bayesprune.models.networks.lenet import LeNet5, LeNet300
from bayesprune.models.networks.perceptron import MLP
from bayesprune.models.networks.resnet import ResNet20, ResNet32, ResNet56
from bayesprune.models.networks.stacked_rnn import StackedRNN
from bayesprune.models.networks.vgg import VGG16

__all__ = [
    "MLP",
    "VGG16",
    "CellNet",
    "Conv4",
    "GraphMLP",
    "GraphRNN",
    "LeNet5",
    "LeNet300",
    "ResNet20",
    "ResNet32",
    "ResNet56",
    "StackedRNN",
]
