"""The checks that every result of a backend passes before anything is made of it.

A plugin may return anything. Each check says what it returned, what was expected, and returns it
again with its type known; call it inside ``failures_named``, which says who returned it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

from PIL import Image

from threedis_core.errors import RenderError
from threedis_core.plugin.interfaces import Capabilities, RenderRequest, RenderResult
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions

LONGEST_PROVENANCE = 2**20
"""Characters of JSON; more is no provenance, and readers of PNG files refuse longer texts."""

Item = TypeVar("Item")


class Sized(Protocol):
    """What says how large a result must be: a request, or the picture a depth is estimated of."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...


def checked_capabilities(capabilities: object) -> Capabilities:
    """What a renderer says it can do, its sizes and its limit usable.

    Raises:
        RenderError: Anything else.
    """
    if not isinstance(capabilities, Capabilities):
        raise RenderError(f"its capabilities are {kind_of(capabilities)}; expected Capabilities")
    multiple, size = capabilities.size_multiple, cast("object", capabilities.default_size)
    if not _is_count(multiple) or not _is_size(size):
        raise RenderError(
            f"its capabilities say size_multiple={multiple!r}, default_size={size!r}; expected "
            "a number of pixels, and a pair of them (width, height)"
        )
    _check_limits(capabilities)
    most = capabilities.max_instances
    if most is not None and not (isinstance(cast("object", most), int) and most >= 0):
        raise RenderError(
            f"its capabilities say max_instances={most!r}; expected a whole number, or None"
        )
    return capabilities


def _check_limits(capabilities: Capabilities) -> None:
    """See that its sizes, steps and guidance do not contradict each other."""
    said, fewest = capabilities, cast("object", capabilities.min_steps)
    largest, listed = cast("object", said.max_size), cast("object", said.sizes)
    if not (largest is None or _is_size(largest)) or not isinstance(listed, list | tuple):
        raise RenderError(
            f"its capabilities say max_size={largest!r}, sizes={listed!r}; expected "
            "(width, height) in pixels or None, and a tuple of such pairs"
        )
    sizes = cast("Sequence[object]", listed)
    if not all(map(_is_size, sizes)) or (sizes and said.default_size not in sizes):
        raise RenderError(
            f"its capabilities say sizes={listed!r}, default_size={said.default_size!r}; expected "
            "pairs (width, height) in pixels, the default one among them"
        )
    if not _is_count(fewest) or not _is_count(cast("object", said.default_steps)):
        raise RenderError(
            f"its capabilities say min_steps={fewest!r}, default_steps={said.default_steps!r}; "
            "expected whole numbers, at least 1"
        )
    if said.guidance and said.default_guidance is None:
        raise RenderError(
            "its capabilities say default_guidance=None; expected a number, or guidance=False"
        )


def checked_results(results: object, requests: Sequence[RenderRequest]) -> list[RenderResult]:
    """The results of ``RenderBackend.render``, one RGB picture of its size for each request.

    Raises:
        RenderError: Anything else, or warnings or provenance that cannot be kept with a picture.
    """
    found = listed(results, RenderResult, requests)
    return [
        RenderResult(
            _checked_image(result.image, request),
            _checked_provenance(result.provenance),
            _checked_warnings(result.warnings),
        )
        for result, request in zip(found, requests, strict=True)
    ]


def checked_depth(maps: object, requests: Iterable[Sized]) -> list[DepthMap]:
    """The maps of a depth model or estimator, one of its size for each request or picture.

    Raises:
        RenderError: Anything else.
    """
    wanted = [(request.width, request.height) for request in requests]
    found = listed(maps, DepthMap, wanted)
    for depth, size in zip(found, wanted, strict=True):
        if (depth.width, depth.height) != size:
            raise RenderError(
                f"it returned a depth map of {depth.width} x {depth.height}; "
                f"expected {size[0]} x {size[1]}"
            )
    return found


def checked_regions(regions: object, layout: Layout) -> Regions:
    """The regions of ``RegionRefiner.refine``, one for each instance of ``layout``.

    Raises:
        RenderError: Anything else.
    """
    if not isinstance(regions, Regions):
        raise RenderError(f"it returned {kind_of(regions)}; expected Regions")
    if len(regions) != len(layout.instances):
        raise RenderError(
            f"it returned {len(regions)} regions for {len(layout.instances)} instances"
        )
    return regions


def listed(results: object, of: type[Item], requests: Sequence[object]) -> list[Item]:
    """A list of one ``of`` for each request.

    Raises:
        RenderError: Anything else.
    """
    if not isinstance(results, list | tuple):
        raise RenderError(f"it returned {kind_of(results)}; expected a list of {of.__name__}")
    items = list(cast("Sequence[object]", results))
    if len(items) != len(requests):
        raise RenderError(f"it returned {len(items)} results for {len(requests)} requests")
    for item in items:
        if not isinstance(item, of):
            raise RenderError(f"it returned {kind_of(item)} in its list; expected {of.__name__}")
    return cast("list[Item]", items)


def _checked_image(image: object, request: RenderRequest) -> Image.Image:
    if not isinstance(image, Image.Image):
        raise RenderError(f"it returned {kind_of(image)} as a picture; expected a PIL image")
    if image.size != (request.width, request.height):
        raise RenderError(
            f"it returned a picture of {image.width} x {image.height}; "
            f"expected {request.width} x {request.height}"
        )
    if image.mode != "RGB":
        raise RenderError(f"it returned a picture of mode {image.mode}; expected RGB")
    image.load()  # a picture that was opened from a file may fail only here
    return image


def _checked_provenance(provenance: object) -> dict[str, Any]:
    if not isinstance(provenance, Mapping):
        raise RenderError(f"it returned {kind_of(provenance)} as provenance; expected a mapping")
    facts = dict(cast("Mapping[str, Any]", provenance))
    try:
        text = json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RenderError(f"its provenance cannot be written as JSON: {error}") from error
    if len(text) > LONGEST_PROVENANCE:
        raise RenderError(
            f"its provenance has {len(text)} characters of JSON; "
            f"expected at most {LONGEST_PROVENANCE}"
        )
    return facts


def _checked_warnings(warnings: object) -> tuple[str, ...]:
    if not isinstance(warnings, list | tuple):
        raise RenderError(f"it returned {kind_of(warnings)} as warnings; expected a tuple of texts")
    lines = tuple(cast("Sequence[object]", warnings))
    for line in lines:
        if not isinstance(line, str):
            raise RenderError(f"it returned {kind_of(line)} among its warnings; expected texts")
    return cast("tuple[str, ...]", lines)


def _is_size(value: object) -> bool:
    sides = cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()
    return len(sides) == 2 and all(map(_is_count, sides))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def kind_of(value: object) -> str:
    """What to call a value of the wrong type."""
    return "None" if value is None else f"a value of type {type(value).__name__}"
