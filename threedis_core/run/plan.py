"""Everything about a run that is decided, and refused, before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from threedis_core.errors import OptionError
from threedis_core.files import limits
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import Capabilities, RegionRefiner, RenderBackend
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.plugin.request_checks import check_instance_count, check_seed, check_size
from threedis_core.plugin.result_checks import checked_capabilities
from threedis_core.run.config import RunConfig, registered_name
from threedis_core.run.depth_plan import PlannedDepthModel, plan_depth_model
from threedis_core.run.folder import check_run_folder
from threedis_core.run.record.versions import library_versions, with_plugins
from threedis_core.run.sizes import Size, asked_size, largest_default, size_like
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout

DEFAULT_RENDERER = "pocket-sd15"
ASPECT_TOLERANCE = 0.02


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
    config = with_default_renderer(config, registry)
    if config.out is not None:
        check_run_folder(config.out)
    layout = layout or config.read_layout()
    if depth is None and config.depth is not None:
        depth = config.read_depth()
    refiner = registry.region_refiner(config.region_refiner.name, config.region_refiner.options)
    backends = {
        name: registry.renderer(registered_name(name), options)
        for name, options in config.renderers.items()
    }
    able: dict[str, Capabilities] = {}
    for name, backend in backends.items():
        with failures_named(f"renderer '{name}'"):
            able[name] = checked_capabilities(backend.capabilities)
    libraries = library_versions()
    asked = asked_size(config, layout)
    if depth is not None and config.depth_model is not None:
        raise OptionError("a depth map and a depth model were both given; give one of them")
    source = depth or plan_depth_model(
        config.depth_model, asked or largest_default(able), registry, libraries
    )
    planned, warnings = _plan_renderers(config, layout, source, asked, backends, able, registry)
    for seed in (*config.seeds, config.depth_seed):
        check_seed(seed)
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
        planned,
        {**with_plugins(libraries, sources), **made_by},
        tuple(dict.fromkeys(part.package for part in sources)),
        warnings,
    )


def _plan_renderers(
    config: RunConfig,
    layout: Layout,
    source: DepthMap | PlannedDepthModel,
    asked: Size | None,
    backends: Mapping[str, RenderBackend],
    able: Mapping[str, Capabilities],
    registry: PluginRegistry,
) -> tuple[tuple[PlannedRenderer, ...], tuple[str, ...]]:
    """Each renderer with its size, checked, and what has no effect, in a line each."""
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
    return tuple(planned), tuple(warnings)


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
