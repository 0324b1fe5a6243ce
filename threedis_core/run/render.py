"""One run, or several, in one call."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Unpack, cast, overload

from threedis_core.errors import OptionError
from threedis_core.plugin.options import validate_options
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.config import RunConfig, RunSettings
from threedis_core.run.engine.engine import Engine
from threedis_core.run.plan import check_type
from threedis_core.run.result import Run
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout


@overload
def render(
    layout: Layout,
    *,
    depth: DepthMap | None = None,
    registry: PluginRegistry | None = None,
    progress: Progress = silent,
    engine: Engine | None = None,
    **settings: Unpack[RunSettings],
) -> Run: ...


@overload
def render(
    layout: Sequence[Layout],
    *,
    depth: DepthMap | None = None,
    registry: PluginRegistry | None = None,
    progress: Progress = silent,
    engine: Engine | None = None,
    **settings: Unpack[RunSettings],
) -> list[Run]: ...


def render(
    layout: Layout | Sequence[Layout],
    *,
    depth: DepthMap | None = None,
    registry: PluginRegistry | None = None,
    progress: Progress = silent,
    engine: Engine | None = None,
    **settings: Unpack[RunSettings],
) -> Run | list[Run]:
    """Render a layout with one or more renderers and seeds, all from one depth map.

    Args:
        layout: What is where; or several layouts, which share the loaded models: a run each, in
            folders of their own in ``out``.
        depth: Its depth map; None: ``depth_model`` makes one.
        registry: The plugins to use; None: the installed ones.
        progress: Told about every step; what it raises ends the run and comes out as it is.
        engine: Keeps the models for the next call; None: each is freed as soon as it has done its
            part.
        **settings: The fields of ``RunConfig``: ``renderers`` (names, or names with their options),
            ``seeds``, ``out``, ``width`` and ``height``, ``steps``, ``guidance``,
            ``negative_prompt``, ``control``, ``depth_model``, ``depth_seed``, ``depth_tries``,
            ``depth_cache``, ``region_refiner``, ``batch_size``.
    Raises:
        InputError: Something is wrong with what was asked, before any model is loaded.
        WeightsError: A model is missing or unreadable.
        RenderError: A backend failed while it was working.
    """
    if isinstance(layout, list | tuple):
        several = cast("Sequence[Layout]", layout)
        with _engine(engine, registry) as chosen:
            return chosen.render_all(several, depth=depth, progress=progress, **settings)
    config = validate_options(RunConfig, settings, "render")
    return render_config(
        config,
        layout=cast("Layout", layout),
        depth=depth,
        registry=registry,
        progress=progress,
        engine=engine,
    )


def render_config(
    config: RunConfig,
    *,
    layout: Layout | None = None,
    depth: DepthMap | None = None,
    registry: PluginRegistry | None = None,
    progress: Progress = silent,
    engine: Engine | None = None,
) -> Run:
    """Do what ``config`` says; read the layout and the depth map that it names if none is given.

    Arguments and errors are those of ``render``.
    """
    with _engine(engine, registry) as chosen:
        return chosen.render_config(config, layout=layout, depth=depth, progress=progress)


@contextmanager
def _engine(engine: Engine | None, registry: PluginRegistry | None) -> Generator[Engine]:
    """The engine that was given, or one for this call alone."""
    if engine is None:
        with Engine(memory_limit=0, registry=registry) as own:
            yield own
        return
    check_type("engine", engine, Engine, "Engine()")
    if registry is not None:
        hint = "give the engine its registry"
        raise OptionError(
            f"an engine and a registry were both given; {hint}", path="registry", hint=hint
        )
    yield engine
