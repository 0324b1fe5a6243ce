"""The examples of a training: where they are, and reading them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from threedis_ldm3d.training.coco_data import CocoData, read_coco_data
from threedis_ldm3d.training.example import BadExample, Example, FoundExamples
from threedis_ldm3d.training.folder_data import FolderData, read_folder

__all__ = [
    "BadExample",
    "CocoData",
    "DataSource",
    "Example",
    "FolderData",
    "FoundExamples",
    "read_examples",
]

DataSource = Annotated[CocoData | FolderData, Field(discriminator="format")]


def read_examples(source: CocoData | FolderData) -> FoundExamples:
    """Read what the data holds, without opening a picture.

    What is wrong with single examples is counted, never fatal.

    Raises:
        DataError: The data cannot be read at all.
    """
    return read_coco_data(source) if isinstance(source, CocoData) else read_folder(source)
