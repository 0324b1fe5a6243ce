"""Everything about a run that is decided, and refused, before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from threedis_core.errors import OptionError
from threedis_core.files import limits
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import Capabilities, DepthModel, RegionRefiner, RenderBackend
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.plugin.request_checks import (
    check_instance_count,
    check_seed,
    check_size,
)
from threedis_core.plugin.result_checks import checked_capabilities
from threedis_core.run.config import Choice, RunConfig, registered_name
from threedis_core.run.folder import check_run_folder
from threedis_core.run.versions import library_versions, with_plugins
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

    ``versions`` are those of everything that decides the map. ``chosen`` is False if nobody asked
    for it: it is tried because there is no depth map.
    """

    name: str
    model: DepthModel
    versions: Mapping[str, str]
    size: Size
    chosen: bool = True


@dataclass(frozen=True, eq=False)
class RunPlan:
    """What a run will do: everything that is decided before a model is loaded.

    Args:
        config: What was asked, the default renderer named.
        layout: What is where.
        depth: The depth map, or what makes it.
        refiner: What makes the regions.
        renderers: In the order asked for.
        versions: Of ThreeDIS, its libraries and the plugins that take part.
        packages: The import packages of those plugins.
        warnings: One line each.
    """

    config: RunConfig
    layout: Layout
    depth: DepthMap | PlannedDepthModel
    refiner: RegionRefiner
    renderers: tuple[PlannedRenderer, ...]
    versions: Mapping[str, str]
    packages: tuple[str, ...]
    warnings: tuple[str, ...]


def plan_run(
    config: RunConfig,
    registry: PluginRegistry,
    layout: Layout | None = None,
    depth: DepthMap | None = None,
) -> RunPlan:
    """Make every backend of a run and check that they can serve it; loads no weights.

    Args:
        config: What is asked.
        registry: The plugins.
        layout: The layout; None: the one that ``config`` names.
        depth: The depth map; None: the one that ``config`` names, if any.
    Raises:
        InputError: A name, an option, a size, a file or a layout that does not fit.
        PluginError: A backend's class cannot be used.
        WeightsError: A renderer's or the region refiner's model is missing.
        RenderError: A backend failed while it was looking.
    """
    if config.out is not None:
        check_run_folder(config.out)
    layout = layout or config.read_layout()
    depth = depth or config.read_depth()
    config = with_default_renderer(config, registry)
    for seed in (*config.seeds, config.depth_seed):
        check_seed(seed)
    libraries = library_versions()
    refiner = registry.region_refiner(config.region_refiner.name, config.region_refiner.options)
    backends = {
        name: registry.renderer(registered_name(name), options)
        for name, options in config.renderers.items()
    }
    able = {name: _capabilities(name, backend) for name, backend in backends.items()}
    asked = _asked_size(config, layout)
    largest = max((one.default_size for one in able.values()), key=lambda size: size[0] * size[1])
    source = _depth_source(config, depth, asked or largest, registry, libraries)
    depth_size = (source.width, source.height) if isinstance(source, DepthMap) else source.size
    limits.check_size(*depth_size, OptionError, "a depth map of")
    planned: list[PlannedRenderer] = []
    warnings: list[str] = []
    for name, backend in backends.items():
        size = asked or size_like(depth_size, able[name])
        check_size(*size, able[name], name)
        check_instance_count(len(layout.instances), able[name], name)
        source_of = registry.source_of(registered_name(name))
        planned.append(PlannedRenderer(name, backend, source_of, size))
        warnings += _warnings(name, able[name], layout, size, depth_size)
    for renderer in planned:
        with failures_named(f"renderer '{renderer.name}'"):
            renderer.backend.check()
    with failures_named(f"region refiner '{config.region_refiner.name}'"):
        refiner.check(layout)
    names = [config.region_refiner.name, *map(registered_name, config.renderers)]
    sources = [part for name in names for part in registry.sources_of(name)]
    made_by = dict[str, str]() if isinstance(source, DepthMap) else source.versions
    return RunPlan(
        config,
        layout,
        source,
        refiner,
        tuple(planned),
        {**with_plugins(libraries, sources), **made_by},
        tuple(dict.fromkeys(part.package for part in sources)),
        tuple(warnings),
    )


def _capabilities(name: str, backend: RenderBackend) -> Capabilities:
    """What a renderer says it can do; asked once in a run."""
    with failures_named(f"renderer '{name}'"):
        return checked_capabilities(backend.capabilities)


def plan_depth(config: RunConfig, layout: Layout, registry: PluginRegistry) -> PlannedDepthModel:
    """Make the depth model that ``config`` names, for a depth map alone; loads no weights.

    The size is the one asked for, else the layout's, else 512 x 512.

    Raises:
        InputError: A name, an option or a size that does not fit.
        PluginError: The model's class cannot be used.
    """
    check_seed(config.depth_seed)
    size = _asked_size(config, layout) or DEFAULT_DEPTH_SIZE
    limits.check_size(*size, OptionError, "a depth map of")
    return _depth_model(config.depth_model, size, registry, library_versions())


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
    config: RunConfig,
    depth: DepthMap | None,
    size: Size,
    registry: PluginRegistry,
    libraries: Mapping[str, str],
) -> DepthMap | PlannedDepthModel:
    choice = config.depth_model
    if depth is not None:
        if choice is not None:
            raise OptionError("a depth map and a depth model were both given; give one of them")
        return depth
    return _depth_model(choice, size, registry, libraries)


def _depth_model(
    choice: Choice | None, size: Size, registry: PluginRegistry, libraries: Mapping[str, str]
) -> PlannedDepthModel:
    known = registry.names("depth model")
    if choice is None and DEFAULT_DEPTH_MODEL not in known:
        raise OptionError(
            "the layout has no depth map; give one with --depth FILE, or --depth-model NAME. "
            f"Installed depth models: {', '.join(known) or 'none'}"
        )
    name = choice.name if choice else DEFAULT_DEPTH_MODEL
    model = registry.depth_model(name, choice.options if choice else {})
    versions = with_plugins(libraries, registry.sources_of(name))
    return PlannedDepthModel(name, model, versions, size, choice is not None)


def _asked_size(config: RunConfig, layout: Layout) -> Size | None:
    if (config.width is None) != (config.height is None):
        given, missing = ("height", "width") if config.width is None else ("width", "height")
        raise OptionError(f"{given} was given without {missing}; give both or neither")
    width, height = config.width or layout.width, config.height or layout.height
    return None if width is None or height is None else (width, height)


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
