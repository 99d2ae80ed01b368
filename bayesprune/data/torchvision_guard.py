"""The one way to torchvision, which repairs its import where its compiled operators do not fit this torch."""

import functools
import importlib
import logging
import sys
import warnings
from types import ModuleType

import torch

_MISSING_OPERATOR = "operator torchvision::nms does not exist"
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_NOTE = (
    "torchvision's compiled operators do not load beside this torch (a wheel built for CUDA next to a CPU "
    "torch, "
    "or another version); the schemas of torchvision::nms and torchvision::qnms were declared by hand, so "
    "that "
    "data sets, transforms and models work; detection operators (nms, roi_align, ...) do not"
)
_log = logging.getLogger(__name__)
_kept_libraries: list[torch.library.Library] = []


@functools.cache
def import_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled operators are absent.

    The package index offers torchvision built for CUDA. Beside a CPU build of torch its import ends in
    "operator torchvision::nms does not exist", because it registers shape rules for operators that its
    compiled part would have declared. Only then are the two missing schemas declared and the import tried
    once more; `torchvision_note` says afterwards that it was so. A healthy torchvision is left alone.

    Returns:
        The imported package; its submodules can be imported in the usual way from then on.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: the import fails for another reason; passed on unchanged.
    """
    with warnings.catch_warnings():
        # torchvision warns that its JPEG and PNG readers are absent: images are decoded by Pillow here.
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if _MISSING_OPERATOR not in str(error):
                raise
            _forget_half_imported()
            _declare_schemas()
            _log.info(_NOTE)
            return importlib.import_module("torchvision")


def torchvision_note() -> str | None:
    """Why torchvision's import had to be repaired, or None where it did not (or was not imported yet)."""
    return _NOTE if _kept_libraries else None


def _forget_half_imported() -> None:
    """Drop what a failed import leaves behind: submodules stay loaded though their package does not."""
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]


def _declare_schemas() -> None:
    """Declare the two operators; a Library that is collected takes its declarations away, so keep it."""
    if not _kept_libraries:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(operator + _SCHEMA)
        _kept_libraries.append(library)
