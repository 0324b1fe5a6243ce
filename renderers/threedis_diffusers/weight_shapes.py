"""Whether weights are those of a model, as to their names and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from threedis_core.errors import WeightsError

MOST_NAMED = 5


def check_weights(
    found: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], owner: str
) -> None:
    """Refuse weights that are not exactly those of a model.

    Args:
        found: The weights by name.
        wanted: The shape of each weight of the model.
        owner: What the weights are of, and where they are, for the message.
    Raises:
        WeightsError: Weights are missing, there are others, or a shape differs.
    """
    missing, extra = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    if missing or extra:
        parts = [f"missing: {_named(missing)}"] if missing else []
        parts += [f"not expected: {_named(extra)}"] if extra else []
        raise WeightsError(
            f"{owner} does not fit, {'; '.join(parts)}. Get the file again, or name one that was "
            "made for this U-Net"
        )
    for name, shape in wanted.items():
        if tuple(found[name].shape) != shape:
            raise WeightsError(
                f"{owner} does not fit: {name} has shape {tuple(found[name].shape)}, expected "
                f"{shape}. Name a file that was made for this U-Net"
            )


def _named(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - MOST_NAMED} more" if len(ordered) > MOST_NAMED else ""
    return ", ".join(ordered[:MOST_NAMED]) + more
