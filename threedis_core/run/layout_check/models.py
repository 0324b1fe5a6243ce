"""What a layout meets in the models that are to draw it, before any of them is loaded."""

from __future__ import annotations

from threedis_core.errors import OptionError
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import Capabilities, DepthModel, RenderBackend
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.plugin.request_checks import (
    check_instance_count,
    check_instance_loras,
    check_size,
)
from threedis_core.plugin.result_checks import checked_capabilities
from threedis_core.run.config import RunConfig, registered_name
from threedis_core.run.depth_plan import DEFAULT_DEPTH_SIZE, plan_depth_model
from threedis_core.run.layout_check.likely import likely_to_fail
from threedis_core.run.sizes import planned_sizes
from threedis_core.values.layout import Layout


def check_for_models(
    config: RunConfig, layout: Layout, registry: PluginRegistry
) -> tuple[str, ...]:
    """What of ``layout`` is likely to fail with the renderers and the depth model of ``config``.

    No file of a model is looked for; ``threedis doctor`` does that.

    Returns:
        One line each.
    Raises:
        InputError: What certainly fails: a name, a size, too many instances, or what the depth
            model cannot draw.
        PluginError: A backend's class cannot be used.
    """
    renderers = {
        name: registry.choose(RenderBackend, registered_name(name), options)
        for name, options in config.renderers.items()
    }
    able: dict[str, Capabilities] = {}
    for name, chosen in renderers.items():
        with failures_named(f"renderer '{name}'"):
            able[name] = checked_capabilities(chosen.backend.capabilities)
    sizes = planned_sizes(config, layout, None, able)[1] if able else {}
    notes: list[str] = []
    for name, size in sizes.items():
        check_size(*size, able[name], name)
        check_instance_count(len(layout.instances), able[name], name)
        check_instance_loras(layout, able[name], name)
        seen = renderers[name].trained_on
        notes += likely_to_fail(layout, size, f"renderer '{name}'", seen)
    depth_size = planned_sizes(config, layout, None, able)[0] if able else DEFAULT_DEPTH_SIZE
    if (choice := config.depth_model) is not None:
        plan_depth_model(choice, depth_size, registry).check(layout, config.depth_seed)
        seen = registry.choose(DepthModel, choice.name, choice.options).trained_on
        notes += likely_to_fail(layout, depth_size, f"depth model '{choice.name}'", seen)
    else:
        try:
            plan_depth_model(None, depth_size, registry).check(layout, config.depth_seed)
        except OptionError as error:  # a depth picture may be at hand
            notes.append(str(error))
    return tuple(notes)
