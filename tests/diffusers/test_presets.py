"""Presets: their options are valid, their files are published, and they do what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.values.layout import Layout
from threedis_diffusers.backend import DiffusersRenderer
from threedis_diffusers.options import LoRA
from threedis_flux.presets import PRESETS as FLUX
from threedis_sd.presets import PRESETS as SD

LISTINGS = json.loads((Path(__file__).parent / "published" / "listings.json").read_text("utf-8"))
FEW_STEPS = {
    name: options
    for name, options in [*((one[0], one[2]) for one in SD), *((one[0], one[1]) for one in FLUX)]
    if "loras" in options
}


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return load_plugins()


@pytest.mark.parametrize("name", FEW_STEPS)
def test_a_few_step_preset_names_published_files_and_takes_few_steps(
    name: str, registry: PluginRegistry
) -> None:
    backend = registry.renderer(name)
    assert isinstance(backend, DiffusersRenderer)
    assert backend.capabilities.default_steps <= 12
    for lora in backend.options.loras:
        assert isinstance(lora, LoRA)
        assert lora.file in LISTINGS[lora.path]["files"]


def test_the_published_presets_read_nouns_and_a_quality_negative_prompt(
    registry: PluginRegistry,
) -> None:
    layout = Layout.from_dict(
        {
            "prompt": "a room",
            "instances": [
                {"prompt": "a red cube", "box": [0, 0, 0.5, 1]},
                {"prompt": "a blue ball", "box": [0.5, 0, 1, 1]},
            ],
        }
    )
    own = layout.model_copy(update={"negative_prompt": "people"})
    unet, flux = registry.renderer("3dis-published"), registry.renderer("3dis-flux-published")
    assert isinstance(unet, DiffusersRenderer)
    assert isinstance(flux, DiffusersRenderer)
    assert unet.as_read(layout).prompt == "a room, cube, ball"
    assert unet.as_read(layout).negative_prompt.startswith("worst quality")
    assert unet.as_read(own).negative_prompt == "people"
    assert flux.as_read(layout).prompt == "a room, cube, ball"
    assert unet.options.dtype == "float32"
    plain = registry.renderer("sd15")
    assert isinstance(plain, DiffusersRenderer)
    assert plain.as_read(layout) == layout
    assert registry.depth_model("3dis-depth-published").options.stretch is False
