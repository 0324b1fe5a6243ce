"""What will make a run's depth map, decided before any model is loaded."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from threedis_core.errors import InputError, OptionError, UnknownPluginError, placed, retold
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import Capabilities, DepthModel, DepthRequest
from threedis_core.plugin.progress import Watched, silent
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.plugin.request_checks import check_seed, check_size
from threedis_core.run.config import DEFAULT_DEPTH_MODEL, Choice, RunConfig
from threedis_core.run.sizes import Size, asked_size
from threedis_core.values.layout import Layout

DEFAULT_DEPTH_SIZE = (512, 512)
ANY_SIZE = Capabilities(size_multiple=1)


@dataclass(frozen=True, eq=False)
class PlannedDepthModel:
    """A depth model, and the size (width, height) of the map it will make.

    ``sources`` are the plugins that have a part in it. ``chosen`` is False if nobody asked for it:
    it is tried because there is no depth map.
    """

    name: str
    model: DepthModel
    sources: tuple[PluginSource, ...]
    size: Size
    chosen: bool = True
    tries: int = 1
    """How many maps to make; the best one is used."""

    def check(self, layout: Layout, seed: int) -> None:
        """See that the model can draw ``layout``; loads nothing.

        Raises:
            InputError: It cannot.
            PluginError: The model failed while it was looking.
        """
        with self.failures_named():
            self.model.check(DepthRequest(layout, seed, *self.size))

    @contextmanager
    def failures_named(self, progress: Watched | None = None) -> Generator[None]:
        """Name the model in what it raises; one that nobody asked for asks for another map.

        What ``progress`` has raised comes out as it is.
        """
        told = progress or Watched(silent)
        try:
            with failures_named(f"depth model '{self.name}'", progress=told):
                yield
        except InputError as error:
            if self.chosen or error is told.raised:
                raise
            raise retold(
                error,
                OptionError,
                "the layout has no depth map; give one with --depth FILE, or --depth-model NAME. "
                f"The default, '{self.name}', cannot draw it: {error}",
            ) from error


def plan_depth_model(
    choice: Choice | None, size: Size, registry: PluginRegistry, tries: int | None = None
) -> PlannedDepthModel:
    """Make the depth model of a run; loads no weights.

    Args:
        choice: The one asked for; None: the default.
        size: (width, height) of the map that it will make.
        registry: The plugins.
        tries: How many maps to make; None: as many as the model wants.
    Raises:
        InputError: There is no default; a name or an option that does not fit.
        PluginError: The model's class cannot be used.
    """
    name, options = (choice.name, choice.options) if choice else (DEFAULT_DEPTH_MODEL, {})
    try:
        with placed("depth_model", "options"):
            chosen = registry.choose(DepthModel, name, options)
    except UnknownPluginError as error:
        if choice is not None:
            raise
        raise OptionError(
            "the layout has no depth map; give one with --depth FILE, or --depth-model NAME. "
            f"The default is not installed: {error}",
            code="missing-field",
            path="depth",
            hint="give one with --depth FILE, or --depth-model NAME",
        ) from error
    model = chosen.backend
    asked = choice is not None
    tries = tries or model.usual_tries
    return PlannedDepthModel(name, model, chosen.sources, size, asked, tries)


def plan_depth(config: RunConfig, layout: Layout, registry: PluginRegistry) -> PlannedDepthModel:
    """Make the depth model that ``config`` names, for a depth map alone; loads no weights.

    The size is the one asked for, else the layout's, else 512 x 512.

    Raises:
        InputError: A name, an option or a size that does not fit, or a layout that the model
            cannot draw.
        PluginError: The model's class cannot be used.
    """
    check_seed(config.depth_seed)
    size = asked_size(config, layout) or DEFAULT_DEPTH_SIZE
    check_size(*size, ANY_SIZE, "depth")
    planned = plan_depth_model(config.depth_model, size, registry, config.depth_tries)
    planned.check(layout, config.depth_seed)
    return planned
