"""Turn what a library says of a damaged model into one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threedis_core.errors import ThreeDISError, WeightsError
from threedis_diffusers.machine_failures import machine_failure
from threedis_diffusers.model_files.sources import ModelSource


@contextmanager
def readable(source: ModelSource) -> Iterator[None]:
    """Turn a loader's complaints into one clear line.

    Args:
        source: What is loaded inside.
    Raises:
        WeightsError: The loader could not; what the machine lacks is raised as it is.
    """
    try:
        yield
    except ThreeDISError:
        raise
    except Exception as error:  # what a library raises on damaged files may be anything
        if machine_failure(error) is not None:
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise WeightsError(
            f"'{source.name}' cannot be loaded ({reason}); the files are damaged or of another "
            "kind: get them again"
        ) from error
