"""The config that repeats a run, out of its ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from threedis_core.run.record.portable_paths import at_home


def replayed(record: Mapping[str, Any], folder: Path, new_depth: bool = False) -> Any:
    """What the ``run.json`` of a run says that it was asked, its paths made real.

    Args:
        record: What ``run.json`` holds.
        folder: Where it lies.
        new_depth: If a model has made the depth map, take the model, its options, seed and tries
            instead of the map.
    """
    config, depth = record.get("config"), record.get("depth")
    if new_depth and isinstance(config, Mapping) and isinstance(depth, Mapping):
        made = cast("Mapping[str, Any]", depth)
        if "model" in made:
            named = cast("Mapping[str, Any]", config)
            given = {name: value for name, value in named.items() if name != "depth"}
            config = given | _depth_model(made)
    return at_home(config, folder)


def _depth_model(depth: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config that make a depth map as one was made."""
    tries = cast("Sequence[Mapping[str, Any]]", depth.get("tries") or [depth])
    return {
        "depth_model": {"name": depth["model"], "options": depth.get("options", {})},
        "depth_seed": tries[0].get("seed", 0),
        "depth_tries": len(tries),
    }
