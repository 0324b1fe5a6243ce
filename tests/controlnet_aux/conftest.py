"""These tests run in an environment of their own: ``make test-controlnet-aux``.

Where controlnet-aux is not installed, as in the main suite, nothing is done here.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

import torch

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision() -> None:
    """Import torchvision, if it is there, even where its build does not fit this torch.

    Its compiled operators are missing then, and declaring two of them lets it be imported. The
    detectors call none of them.
    """
    if find_spec("torchvision") is None:
        return
    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in OPERATORS:
            library.define(operator)
        LIBRARIES.append(library)
        import torchvision  # noqa: F401


LIBRARIES: list[torch.library.Library] = []
"""Kept, for a library takes its operators along when it goes."""

if find_spec("controlnet_aux") is not None:
    torch.set_num_threads(1)
    import_torchvision()
