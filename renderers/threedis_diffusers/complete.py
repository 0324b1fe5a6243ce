"""Refuse models of which weights are missing: the libraries load them all the same.

diffusers leaves such weights without numbers, transformers gives them random ones; both say so in a
line of their logs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from threedis_core.errors import WeightsError
from threedis_diffusers.own_thread import patched_here


@contextmanager
def complete(source: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Load models inside, then have them looked at by what this yields.

    Args:
        source: Where their weights come from, for the message.
    Raises:
        WeightsError: Weights are missing; raised by what is yielded, which takes parts by name.
    """
    import transformers.modeling_utils

    noted: dict[type, list[str]] = {}

    def make(report: Callable[..., Any]) -> Callable[..., Any]:
        def reported(*args: Any, model: Any, loading_info: Any, **kwargs: Any) -> Any:
            noted.setdefault(type(model), []).extend(sorted(loading_info.missing_keys))
            return report(*args, model=model, loading_info=loading_info, **kwargs)

        return reported

    def check(parts: Mapping[str, Any]) -> None:
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                empty = [weight for weight, value in part.named_parameters() if value.is_meta]
                _refuse(source, name, empty or noted.get(type(part), []))

    with patched_here(transformers.modeling_utils, "log_state_dict_report", make):
        yield check


def _refuse(source: str, part: str, missing: list[str]) -> None:
    if missing:
        raise WeightsError(
            f"'{source}': {len(missing)} weights of the {part} are missing (first: {missing[0]}); "
            "get the files again, or name another model",
            hint="get the files again",
        )
