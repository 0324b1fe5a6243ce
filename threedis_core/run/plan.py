"""Everything about a run that is decided, and refused, before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from threedis_core.errors import OptionError
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import Capabilities, DepthModel, RegionRefiner, RenderBackend
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.plugin.request_checks import check_instance_count, check_seed, check_size
from threedis_core.run.config import Choice, RunConfig, registered_name
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout

DEFAULT_RENDERER = "pocket-sd15"
DEFAULT_DEPTH_MODEL = "pocket-depth"
DEFAULT_DEPTH_SIZE = (512, 512)
ASPECT_TOLERANCE = 0.02

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class PlannedRenderer:
    """A renderer that has passed every check, and the size (width, height) it will render at.

    ``name`` is the one in the config, with its label.
    """

    name: str
    backend: RenderBackend
    source: PluginSource
    size: Size


@dataclass(frozen=True, eq=False)
class PlannedDepthModel:
    """A depth model, and the size (width, height) of the map it will make.

    ``chosen`` is False if nobody asked for it: it is tried because there is no depth map.
    """

    name: str
    model: DepthModel
    sources: tuple[PluginSource, ...]
    size: Size
    chosen: bool = True


@dataclass(frozen=True, eq=False)
class RunPlan:
    """What a run will do; ``sources`` are the plugins that take part."""

    renderers: tuple[PlannedRenderer, ...]
    refiner: RegionRefiner
    depth: DepthMap | PlannedDepthModel
    warnings: tuple[str, ...]
    sources: tuple[PluginSource, ...]


def plan_run(
    config: RunConfig, layout: Layout, depth: DepthMap | None, registry: PluginRegistry
) -> RunPlan:
    """Make every backend of a run and check that they can serve it; loads no weights.

    Raises:
        InputError: A name, an option, a size or a layout that does not fit.
        PluginError: A backend's class cannot be used.
        WeightsError: The region refiner's model is missing.
        RenderError: The region refiner failed while it was looking.
    """
    for seed in (*config.seeds, config.depth_seed):
        check_seed(seed)
    refiner = registry.region_refiner(config.region_refiner.name, config.region_refiner.options)
    backends = {
        name: registry.renderer(registered_name(name), options)
        for name, options in config.renderers.items()
    }
    asked = _asked_size(config, layout)
    source = _depth_source(config, depth, asked or _largest_default(backends), registry)
    depth_size = (source.width, source.height) if isinstance(source, DepthMap) else source.size
    planned: list[PlannedRenderer] = []
    warnings: list[str] = []
    for name, backend in backends.items():
        capabilities = backend.capabilities
        size = asked or size_like(depth_size, capabilities)
        check_size(*size, capabilities, name)
        check_instance_count(len(layout.instances), capabilities, name)
        source_of = registry.source_of(registered_name(name))
        planned.append(PlannedRenderer(name, backend, source_of, size))
        warnings += _warnings(name, capabilities, layout, size, depth_size)
    sources = [
        *registry.sources_of(config.region_refiner.name),
        *(
            part
            for renderer in planned
            for part in registry.sources_of(registered_name(renderer.name))
        ),
        *(() if isinstance(source, DepthMap) else source.sources),
    ]
    with failures_named(f"region refiner '{config.region_refiner.name}'"):
        refiner.check(layout)
    return RunPlan(tuple(planned), refiner, source, tuple(warnings), tuple(sources))


def plan_depth(config: RunConfig, layout: Layout, registry: PluginRegistry) -> PlannedDepthModel:
    """Make the depth model that ``config`` names, for a depth map alone; loads no weights.

    The size is the one asked for, else the layout's, else 512 x 512.

    Raises:
        InputError: A name, an option or a size that does not fit.
        PluginError: The model's class cannot be used.
    """
    check_seed(config.depth_seed)
    size = _asked_size(config, layout) or DEFAULT_DEPTH_SIZE
    check_size(*size, Capabilities(size_multiple=1), "depth")
    return _depth_model(config.depth_model, size, registry)


def size_like(shape: Size, capabilities: Capabilities) -> Size:
    """A backend's default picture area in the proportions of ``shape`` (width, height).

    Each side is rounded to the backend's size multiple; equal proportions give exactly the
    default size.
    """
    (width, height), (default_width, default_height) = shape, capabilities.default_size
    if width * default_height == height * default_width:
        return capabilities.default_size
    scale = sqrt(default_width * default_height / (width * height))
    multiple = capabilities.size_multiple
    return (
        max(multiple, round(width * scale / multiple) * multiple),
        max(multiple, round(height * scale / multiple) * multiple),
    )


def with_default_renderer(config: RunConfig, registry: PluginRegistry) -> RunConfig:
    """``config`` with the default renderer if it names none.

    Raises:
        OptionError: The default renderer is not installed.
    """
    if config.renderers:
        return config
    known = registry.names("renderer")
    if DEFAULT_RENDERER not in known:
        raise OptionError(
            f"no renderer was named, and the default '{DEFAULT_RENDERER}' is not installed; "
            f"name one with --renderer. Installed: {', '.join(known) or 'none'}"
        )
    return config.model_copy(update={"renderers": {DEFAULT_RENDERER: {}}})


def _depth_source(
    config: RunConfig, depth: DepthMap | None, size: Size, registry: PluginRegistry
) -> DepthMap | PlannedDepthModel:
    choice = config.depth_model
    if depth is not None:
        if choice is not None:
            raise OptionError("a depth map and a depth model were both given; give one of them")
        return depth
    return _depth_model(choice, size, registry)


def _depth_model(choice: Choice | None, size: Size, registry: PluginRegistry) -> PlannedDepthModel:
    known = registry.names("depth model")
    if choice is None and DEFAULT_DEPTH_MODEL not in known:
        raise OptionError(
            "the layout has no depth map; give one with --depth FILE, or --depth-model NAME. "
            f"Installed depth models: {', '.join(known) or 'none'}"
        )
    name = choice.name if choice else DEFAULT_DEPTH_MODEL
    model = registry.depth_model(name, choice.options if choice else {})
    return PlannedDepthModel(name, model, registry.sources_of(name), size, choice is not None)


def _asked_size(config: RunConfig, layout: Layout) -> Size | None:
    if (config.width is None) != (config.height is None):
        given, missing = ("height", "width") if config.width is None else ("width", "height")
        raise OptionError(f"{given} was given without {missing}; give both or neither")
    width, height = config.width or layout.width, config.height or layout.height
    return None if width is None or height is None else (width, height)


def _largest_default(backends: Mapping[str, RenderBackend]) -> Size:
    sizes = [backend.capabilities.default_size for backend in backends.values()]
    return max(sizes, key=lambda size: size[0] * size[1])


def _warnings(
    name: str, capabilities: Capabilities, layout: Layout, size: Size, depth_size: Size
) -> list[str]:
    found: list[str] = []
    if not capabilities.masks and any(instance.mask for instance in layout.instances):
        found.append(f"renderer '{name}' does not follow masks; it uses the boxes")
    if layout.negative_prompt and not capabilities.negative_prompt:
        found.append(f"renderer '{name}' has no negative prompt; the layout's has no effect")
    stretch = (size[0] / size[1]) / (depth_size[0] / depth_size[1])
    if abs(stretch - 1) > ASPECT_TOLERANCE:
        found.append(
            f"the depth map is {depth_size[0]} x {depth_size[1]}, the picture of '{name}' "
            f"{size[0]} x {size[1]}: the depth is stretched by {stretch:.2f}"
        )
    return found
