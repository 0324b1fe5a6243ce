"""How a picture came to be, as JSON-ready facts."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from PIL import Image
from pydantic import BaseModel

from threedis_core.plugin.interfaces import RenderRequest, RenderResult
from threedis_core.plugin.registrations import PluginSource
from threedis_core.run.config import RunConfig
from threedis_core.run.plan import PlannedRenderer, RunPlan
from threedis_core.run.result import RunImage, StageDepth
from threedis_core.values.depth import DepthMap
from threedis_core.version import __version__

RUN_FORMAT = 1
LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")


def software_versions(sources: Iterable[PluginSource]) -> dict[str, str]:
    """Versions of ThreeDIS, Python, the model libraries and the plugins that were used."""
    versions = {"threedis": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # not every renderer needs every library
    for source in sources:
        versions.setdefault(source.distribution, source.version)
    return versions


def pixel_checksum(image: Image.Image) -> str:
    """SHA-256 of a picture's mode, size and pixels, in hexadecimal."""
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def picture_provenance(
    planned: PlannedRenderer,
    request: RenderRequest,
    result: RenderResult,
    config: RunConfig,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """What it takes to make one picture again; no times, so that equal pictures are equal files."""
    return json_ready(
        {
            "threedis_picture": RUN_FORMAT,
            "renderer": planned.name,
            "plugin": str(planned.source),
            "seed": request.seed,
            "size": [request.width, request.height],
            "asked": config.renderers[planned.name],
            "options": planned.backend.options.model_dump(),
            "backend": dict(result.provenance),
            "layout": request.layout.to_dict(),
            "depth_checksum": request.depth.checksum(),
            "pixel_checksum": pixel_checksum(result.image),
            "versions": dict(versions),
            "warnings": list(result.warnings),
        }
    )


def run_record(
    config: RunConfig,
    plan: RunPlan,
    made: StageDepth,
    images: Sequence[RunImage],
    versions: Mapping[str, str],
    seconds: Mapping[str, float],
    warnings: Sequence[str],
    started: datetime,
) -> dict[str, Any]:
    """The document ``run.json``. Its ``config`` renders the same pictures from the run's folder."""
    replay = config.model_dump(
        exclude_none=True, exclude={"image_id", "out", "depth_model", "depth_cache"}
    )
    replay |= {"layout": "layout.json", "depth": "depth.png"}
    return json_ready(
        {
            "threedis_run": RUN_FORMAT,
            "created": started.isoformat(timespec="seconds"),
            "config": replay,
            "versions": dict(versions),
            "depth": _depth_record(config, plan, made),
            "images": [_image_record(image) for image in images],
            "seconds": dict(seconds),
            "warnings": list(warnings),
        }
    )


def _depth_record(config: RunConfig, plan: RunPlan, made: StageDepth) -> dict[str, Any]:
    depth = made.depth
    record: dict[str, Any] = {
        "file": "depth.png",
        "width": depth.width,
        "height": depth.height,
        "checksum": depth.checksum(),
    }
    if not isinstance(plan.depth, DepthMap):
        record["model"] = plan.depth.name
        record["options"] = plan.depth.model.options.model_dump()
        record["seed"] = config.depth_seed
        record["cached"] = made.cached
    return record


def _image_record(image: RunImage) -> dict[str, Any]:
    shared = ("threedis_picture", "layout", "versions", "depth_checksum")
    facts = {name: fact for name, fact in image.provenance.items() if name not in shared}
    return {"file": image.file.name if image.file else None, **facts}


def json_ready(value: Any) -> Any:
    """``value`` in plain JSON types; what JSON does not know becomes its text."""
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, set | frozenset):
        return sorted(str(item) for item in cast("frozenset[Any]", value))
    return str(value)
