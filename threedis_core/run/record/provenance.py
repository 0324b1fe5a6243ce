"""How a picture came to be, as JSON-ready facts: each is told once, and none tells a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from PIL import Image
from pydantic import BaseModel

from threedis_core.plugin.interfaces import RenderRequest, RenderResult
from threedis_core.run.config import RUN_SIGN
from threedis_core.run.plan import PlannedRenderer, RunPlan
from threedis_core.run.record.portable_paths import portable
from threedis_core.run.result import Presence, RunImage, StageDepth
from threedis_core.values.depth import DepthMap

RUN_FORMAT = 2
OF_THE_RUN = (
    *("threedis_picture", "plugin", "options", "steps", "guidance"),
    *("layout", "versions", "depth_checksum"),
)
"""Facts of a picture that ``run.json`` tells once for all its pictures."""


@dataclass(frozen=True)
class Origin:
    """What the pictures of a run or a comparison have in common, as their provenance tells it.

    Args:
        folder: Where they are written; paths are told relative to it. None: nowhere.
        packages: The import packages of the plugins that take part.
        versions: Of ThreeDIS, its libraries and these plugins.
    """

    folder: Path | None
    packages: tuple[str, ...]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, plan: RunPlan) -> Origin:
        """The origin of a run's pictures."""
        return cls(plan.config.out, plan.packages, plan.versions)


def pixel_checksum(image: Image.Image) -> str:
    """SHA-256 of a picture's mode, size and pixels, in hexadecimal."""
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def picture_provenance(
    origin: Origin, planned: PlannedRenderer, request: RenderRequest, result: RenderResult
) -> dict[str, Any]:
    """What it takes to make one picture again; no times, so that equal pictures are equal files."""
    checksum = pixel_checksum(result.image)
    return {
        "threedis_picture": RUN_FORMAT,
        **_renderer_facts(origin, planned),
        "renderer": planned.name,
        "seed": request.seed,
        "size": [request.width, request.height],
        "steps": request.steps,
        "guidance": request.guidance,
        "control": "on" if request.control is None else "none",
        "backend": told_portably(origin, result.provenance),
        "layout": request.layout.to_dict(),
        "depth_checksum": request.depth.checksum(),
        "pixel_checksum": checksum,
        "versions": dict(origin.versions),
        "warnings": list(result.warnings),
    }


def run_record(
    plan: RunPlan,
    depth: Mapping[str, Any],
    images: Sequence[RunImage],
    seconds: Mapping[str, float],
    warnings: Sequence[str],
    created: str,
    finished: bool,
) -> dict[str, Any]:
    """The document ``run.json``. Its ``config`` renders the same pictures from the run's folder.

    Args:
        plan: What the run does.
        depth: What ``depth_facts`` tells.
        images: The pictures that are there by now.
        seconds: How long each part took.
        warnings: One line each.
        created: When the run began, in ISO 8601.
        finished: False as long as a picture is missing.
    """
    return {
        RUN_SIGN: RUN_FORMAT,
        "created": created,
        "finished": finished,
        **planned_facts(plan, plan.config.out),
        "depth": dict(depth),
        "images": [_image_facts(image) for image in images],
        "seconds": dict(seconds),
        "warnings": list(warnings),
    }


def planned_facts(plan: RunPlan, folder: Path | None) -> dict[str, Any]:
    """What is known of a run before it begins, as its ``run.json`` in ``folder`` tells it."""
    origin = replace(Origin.of(plan), folder=folder)
    replay = plan.config.model_dump(
        mode="json",
        exclude_none=True,
        exclude={
            "image_id",
            "out",
            "depth_model",
            "depth_seed",
            "depth_tries",
            "depth_cache",
        },
    )
    replay |= {"layout": "layout.json", "depth": "depth.png"}
    return {
        "config": told_portably(origin, replay),
        "versions": dict(plan.versions),
        "renderers": {one.name: _renderer_facts(origin, one) for one in plan.renderers},
    }


def planned_depth_facts(plan: RunPlan, folder: Path | None) -> dict[str, Any]:
    """What is known of a run's depth map before it is made, likewise."""
    if isinstance(plan.depth, DepthMap):
        return {"checksum": plan.depth.rounded().checksum()}
    options = plan.depth.model.options.model_dump(mode="json")
    origin = replace(Origin.of(plan), folder=folder)
    return {"model": plan.depth.name, "options": told_portably(origin, options)}


def _renderer_facts(origin: Origin, planned: PlannedRenderer) -> dict[str, Any]:
    options = planned.backend.options.model_dump(mode="json")
    return {"plugin": str(planned.source), "options": told_portably(origin, options)}


def depth_facts(plan: RunPlan, made: StageDepth) -> dict[str, Any]:
    """What ``run.json`` tells of the depth map."""
    depth = made.depth
    facts: dict[str, Any] = {
        "file": "depth.png",
        "width": depth.width,
        "height": depth.height,
        "checksum": depth.checksum(),
        "presence": _rounded(made.presence),
    }
    if not isinstance(plan.depth, DepthMap):
        facts |= planned_depth_facts(plan, plan.config.out)
        facts["seed"] = made.seed
        facts["cached"] = made.cached
        facts["tries"] = [
            {"seed": one.seed, "presence": _rounded(one.presence)} for one in made.tries
        ]
    return facts


def _rounded(presence: Presence) -> list[float | None]:
    return [None if score is None else round(score, 3) for score in presence]


def _image_facts(image: RunImage) -> dict[str, Any]:
    facts = {name: fact for name, fact in image.provenance.items() if name not in OF_THE_RUN}
    return {"file": image.file.name if image.file else None, **facts}


def told_portably(origin: Origin, facts: Mapping[str, Any]) -> Any:
    """Facts in plain JSON types, the paths in them made portable."""
    plain = json.loads(json.dumps(facts, default=_plain))
    return portable(plain, origin.folder, origin.packages)


def _plain(value: object) -> Any:
    """What JSON does not know, as something that it does."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, set | frozenset):
        return sorted(str(item) for item in cast("frozenset[Any]", value))
    return str(value)
