"""Load what another recipe has trained: from safetensors, never from a pickle beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeVar

from safetensors import SafetensorError

from threedis_core.errors import WeightsError

Part = TypeVar("Part", covariant=True)


class Loadable(Protocol[Part]):
    """A model or pipeline class of diffusers or transformers."""

    def from_pretrained(self, folder: Path, **arguments: Any) -> Part:
        """Load it from a folder."""
        ...


def load_part(kind: Loadable[Part], folder: Path, **arguments: Any) -> Part:
    """The trained model in ``folder``.

    Args:
        kind: Its class.
        folder: Its configuration and its weights.
        **arguments: Passed on to ``from_pretrained``.
    Raises:
        WeightsError: Weights in safetensors are missing or damaged.
    """
    try:
        return kind.from_pretrained(folder, use_safetensors=True, **arguments)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise WeightsError(
            f"{folder} cannot be loaded ({reason}); delete it and train it again"
        ) from error
