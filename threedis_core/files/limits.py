"""The largest inputs that are read; beyond them a clear error comes before any work."""

from __future__ import annotations

MAX_SIDE = 16384
"""Pixels along one side of a picture, mask, depth map or layout."""

MAX_PIXELS = 2**26
"""Pixels of one picture, mask or depth map: 8192 x 8192."""

MAX_INSTANCES = 1000
"""Instances in one layout."""

MAX_TEXT = 10_000
"""Characters in one prompt or label."""

MAX_DOCUMENT_BYTES = 16 * 2**20
"""Size of a layout or configuration file."""

MAX_DATASET_BYTES = 2**30
"""Size of a data set's annotation file."""

MAX_DOCUMENT_VALUES = 200_000
"""Values (texts, numbers, lists, mappings) in one YAML file."""

MAX_DOCUMENT_DEPTH = 32
"""Levels of lists and mappings inside each other in one YAML file."""
