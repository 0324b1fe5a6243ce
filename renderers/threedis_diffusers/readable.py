"""Turn what a library says of a damaged model into one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

from threedis_core.errors import WeightsError
from threedis_diffusers.model_files.sources import ModelSource


@contextmanager
def readable(source: ModelSource) -> Iterator[None]:
    """Turn a loader's complaints into one clear line.

    Args:
        source: What is loaded inside.
    Raises:
        WeightsError: The loader could not.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        AttributeError,
        SafetensorError,
        UnpicklingError,
    ) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise WeightsError(
            f"'{source.name}' cannot be loaded ({reason}); the files are damaged or of another "
            "kind: get them again"
        ) from error
