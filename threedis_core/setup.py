"""Choose how a renderer runs on a card, and what has to be fetched for it; loads no weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from threedis_core.errors import OptionError
from threedis_core.plugin.inspection import Download, MemoryNeed
from threedis_core.plugin.interfaces import Backend, DepthModel, RegionRefiner, RenderBackend
from threedis_core.plugin.registry import NO_OPTIONS, PluginRegistry
from threedis_core.run.config import DEFAULT_DEPTH_MODEL, RunConfig, registered_name

GIB = 2**30
FULL_STAGES = ("ldm3d", "sam")
"""The depth model and the region refiner of the published models."""
TAKEN = 600 * 2**20
"""What the driver and a desktop take of a card."""
ROOM = 0.95
"""How much of what is left may be planned with: the needs are computed, not measured."""
MAIN_MEMORY = 2
"""So many times as much main memory as the card has, a machine is thought to have."""
IN_ONE_PIECE = ("none", "model")
"""Ways to place a model that are not slow; a smaller model comes before the others."""


@dataclass(frozen=True)
class Setup:
    """How a run is set up for a card.

    Args:
        config: The run's settings.
        backends: What it loads, by what each is called.
        need: What the renderer needs on the card; None: nothing, or it is not known.
        fits: False if even that is more than the card has.
    """

    config: RunConfig
    backends: Mapping[str, Backend]
    need: MemoryNeed | None
    fits: bool

    def downloads(self) -> list[Download]:
        """What is missing on this machine."""
        return [one for backend in self.backends.values() for one in backend.inspect().downloads]

    def document(self) -> dict[str, Any]:
        """The settings as a config file says them, without what is as usual."""
        return self.config.model_dump(mode="json", exclude_defaults=True)


def parse_card(text: str) -> int:
    """Bytes of the memory that a card has: "12GB", "12 GiB", "12" (whose makers mean GiB).

    Raises:
        OptionError: It says something else.
    """
    found = re.fullmatch(r"(\d{1,4}(?:\.\d+)?)\s*(?:gi?b?)?", text.strip(), re.IGNORECASE)
    if found is None or not float(found[1]):
        raise OptionError(
            f"--card {text:.40}: expected the card's memory in GB, such as 12GB",
            code="wrong-value",
            hint="give the card's memory in GB, such as 12GB",
        )
    return int(float(found[1]) * GIB)


def set_up(
    registry: PluginRegistry,
    renderer: str,
    card: int,
    depth_model: str | None = None,
    region_refiner: str | None = None,
) -> Setup:
    """Choose the options of a renderer for a card, and what makes its depth maps and regions.

    Args:
        registry: The plugins.
        renderer: A renderer's or a preset's name.
        card: Bytes of the card's memory.
        depth_model: What makes the depth maps; None: what suits the renderer.
        region_refiner: What makes the regions; None: likewise.
    Raises:
        InputError: An unknown name.
        ThreeDISError: Something that is chosen does not work on this machine.
    """
    tried = [
        (options, backend, backend.needs_on_a_card())
        for options in _ways(registry, renderer)
        for backend in [registry.choose(RenderBackend, registered_name(renderer), options).backend]
    ]
    options, backend, need = _choose(tried, card)
    usual_model, usual_refiner = _usual_stages(registry, renderer)
    depth_model, region_refiner = depth_model or usual_model, region_refiner or usual_refiner
    chosen: dict[str, Backend] = {
        f"depth model '{depth_model}'": registry.choose(DepthModel, depth_model).backend,
        f"region refiner '{region_refiner}'": registry.choose(
            RegionRefiner, region_refiner
        ).backend,
        f"renderer '{renderer}'": backend,
    }
    config = RunConfig.model_validate(
        {
            "depth_model": depth_model,
            "region_refiner": region_refiner,
            "renderers": {renderer: dict(options)},
        }
    )
    return Setup(config, chosen, need, need is None or _fits(need, card))


def _usual_stages(registry: PluginRegistry, renderer: str) -> tuple[str, str]:
    """The depth model and region refiner that a renderer goes with.

    Those that a run takes where nothing is named, if that depth model comes from the renderer's
    own plugin; it has learnt the same scenes then.
    """
    own = DEFAULT_DEPTH_MODEL
    if own in registry.names("depth model"):
        plugins = {registry.sources_of(name)[0] for name in (registered_name(renderer), own)}
        if len(plugins) == 1:
            return own, RunConfig().region_refiner.name
    return FULL_STAGES


Tried = tuple[Mapping[str, Any], RenderBackend, Sequence[MemoryNeed]]
"""Options, the renderer with them, and what it needs."""


def _ways(registry: PluginRegistry, renderer: str) -> list[dict[str, Any]]:
    """The options that a renderer may get, those of the largest model first."""
    own = registry.renderer(registered_name(renderer))
    # A preset with a model of its own has no use for smaller files of another one.
    usual = own.Options.model_fields.get("model")
    other = usual is not None and getattr(own.options, "model", None) != usual.default
    smaller: list[Mapping[str, Any]] = [NO_OPTIONS, *(() if other else own.smaller)]
    return [{**own.for_cards, **one} for one in smaller]


def _choose(
    tried: Sequence[Tried], card: int
) -> tuple[Mapping[str, Any], RenderBackend, MemoryNeed | None]:
    """The largest model that fits at full speed; else the smallest one, placed as it has to be."""
    for options, backend, needs in tried:
        for need in needs:
            if need.offload in IN_ONE_PIECE and _fits(need, card):
                return options, backend, need
    options, backend, needs = tried[-1]
    fitting = [need for need in needs if _fits(need, card)] or list(needs[-1:])
    return options, backend, fitting[0] if fitting else None


def _fits(need: MemoryNeed, card: int) -> bool:
    return need.device <= ROOM * (card - TAKEN) and need.main <= ROOM * MAIN_MEMORY * card
