"""Everything about a run that is decided, and refused, before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from threedis_core.errors import OptionError, placed
from threedis_core.files import limits
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import Capabilities, RegionRefiner, RenderBackend
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import Chosen, PluginRegistry
from threedis_core.plugin.request_checks import (
    check_instance_count,
    check_instance_loras,
    check_negative_prompt,
    check_seed,
    check_settings,
    check_size,
)
from threedis_core.plugin.result_checks import checked_capabilities
from threedis_core.run.config import OF_A_DEPTH_MODEL, RunConfig, registered_name
from threedis_core.run.depth_plan import PlannedDepthModel, plan_depth_model
from threedis_core.run.effects import without_effect
from threedis_core.run.folder import check_run_folder
from threedis_core.run.record.versions import versions_with
from threedis_core.run.sizes import Size, planned_sizes
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout

DEFAULT_RENDERER = "pocket-sd15"


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
        layout: What is where, with the negative prompt that was asked for.
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

    def into(self, folder: Path) -> RunPlan:
        """The same plan, carried out in ``folder``."""
        return replace(self, config=self.config.model_copy(update={"out": folder}))


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
    _check_types(config, layout, depth)
    config = with_default_renderer(config, registry)
    if config.out is not None:
        check_run_folder(config.out)
    layout = with_negative_prompt(layout or config.read_layout(), config.negative_prompt)
    if depth is None and config.depth is not None:
        depth = config.read_depth()
    if depth is not None and config.depth_model is not None:
        raise OptionError(
            "a depth map and a depth model were both given; give one of them",
            path="depth_model",
            hint="give one of them",
        )
    for name in OF_A_DEPTH_MODEL if depth is not None else ():
        if value := getattr(config, name):
            raise OptionError(
                f"{name} is {value}, which is for a depth model, but a depth map is given; leave "
                "one of them out",
                path=name,
                hint="leave one of them out",
            )
    refiner_name, options = config.region_refiner.name, config.region_refiner.options
    with placed("region_refiner", "options"):
        refiner = registry.choose(RegionRefiner, refiner_name, options)
    renderers: dict[str, Chosen[RenderBackend]] = {}
    for name, options in config.renderers.items():
        with placed(f"renderers.{name}"):
            renderers[name] = registry.choose(RenderBackend, registered_name(name), options)
    able: dict[str, Capabilities] = {}
    for name, chosen in renderers.items():
        with failures_named(f"renderer '{name}'"):
            able[name] = checked_capabilities(chosen.backend.capabilities)
    depth_size, sizes = planned_sizes(config, layout, depth, able)
    warnings = without_effect(config, layout, able, sizes, depth_size, depth)
    limits.check_size(*depth_size, OptionError, "a depth map of")
    for seed in (*config.seeds, config.depth_seed):
        check_seed(seed)
    for name, size in sizes.items():
        check_picture(config, layout, size, able[name], name)
    source = depth or plan_depth_model(config.depth_model, depth_size, registry, config.depth_tries)
    if isinstance(source, PlannedDepthModel):
        source.check(layout, config.depth_seed)
    for name, chosen in renderers.items():
        with failures_named(f"renderer '{name}'"):
            chosen.backend.check()
    with failures_named(f"region refiner '{refiner_name}'"):
        refiner.backend.check(layout)
    sources = [part for chosen in (refiner, *renderers.values()) for part in chosen.sources]
    sources += () if isinstance(source, DepthMap) else source.sources
    return RunPlan(
        config,
        layout,
        source,
        refiner.backend,
        tuple(
            PlannedRenderer(name, chosen.backend, chosen.sources[-1], sizes[name])
            for name, chosen in renderers.items()
        ),
        versions_with(sources),
        tuple(dict.fromkeys(part.module.partition(".")[0] for part in sources)),
        warnings,
    )


def check_picture(
    config: RunConfig, layout: Layout, size: Size, able: Capabilities, name: str
) -> None:
    """See that a renderer can make the pictures of a layout, as far as it says what it can do.

    Args:
        config: What is asked.
        layout: What is where.
        size: (width, height) of the pictures.
        able: What the renderer can do.
        name: What it is called.
    Raises:
        InputError: It cannot.
    """
    check_size(*size, able, name)
    check_instance_count(len(layout.instances), able, name)
    check_instance_loras(layout, able, name)
    check_settings(config.steps, config.guidance, able, name)
    check_negative_prompt(config.negative_prompt, able, name)


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
            f"name one with --renderer. Installed: {', '.join(known) or 'none'}",
            code="missing-field",
            path="renderers",
            hint="name one with --renderer",
        )
    return config.model_copy(update={"renderers": {DEFAULT_RENDERER: {}}})


def with_negative_prompt(layout: Layout, asked: str | None) -> Layout:
    """The layout with the negative prompt that was asked for, if one was."""
    return layout if asked is None else layout.model_copy(update={"negative_prompt": asked})


def check_type(path: str, value: object, wanted: type[object], how: str) -> None:
    """Say what to pass instead of what Python cannot tell until it breaks.

    Args:
        path: Which argument it is.
        value: What was given.
        wanted: What it should be.
        how: What makes one: "read_layout(file)".
    Raises:
        OptionError: It is none.
    """
    if not isinstance(value, wanted):
        article = "an" if wanted.__name__[0] in "AEIOU" else "a"
        raise OptionError(
            f"got a value of type {type(value).__name__}; expected {article} {wanted.__name__}: "
            f"use {how}",
            code="wrong-value",
            path=path,
            hint=f"use {how}",
        )


def check_layouts(layouts: object) -> None:
    """Refuse what is no list of layouts.

    Raises:
        OptionError: Something else, such as names of files, or an empty list.
    """
    check_type("layout", layouts, Sequence, "a list of layouts")
    found = cast("Sequence[object]", layouts)
    if not found:
        raise OptionError(
            "there is no layout in the list; expected at least one",
            code="wrong-value",
            path="layout",
        )
    for index, layout in enumerate(found):
        check_type(f"layout[{index}]", layout, Layout, "read_layout(file)")


def _check_types(config: object, layout: object, depth: object) -> None:
    check_type("config", config, RunConfig, "RunConfig.load(file)")
    if layout is not None:
        check_type("layout", layout, Layout, "read_layout(file)")
    if depth is not None:
        check_type("depth", depth, DepthMap, "DepthMap.load(file), or DepthMap(array)")
