"""What of a network can be removed, layer by layer, and why the rest cannot."""

from bayesprune.inspection.inspecting import inspect
from bayesprune.inspection.values import InspectedLayer, Inspection

__all__ = ["InspectedLayer", "Inspection", "inspect"]


def __dir__() -> list[str]:
    return sorted(__all__)
