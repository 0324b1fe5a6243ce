"""The real renderers, chosen and set by a config as a person writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import threedis_core.refiners
import threedis_flux
import threedis_pocket
import threedis_sd
from threedis_core.errors import OptionError
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.config import RunConfig
from threedis_core.run.plan import RunPlan, plan_run
from threedis_core.run.render import render_config
from threedis_core.testing import sample_depth, sample_layout
from threedis_diffusers.backend import DiffusersRenderer

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 128, 128)


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    registry = PluginRegistry()
    for plugin in (threedis_core.refiners, threedis_sd, threedis_flux, threedis_pocket):
        registry.add(plugin, PluginSource(plugin.__name__))
    registry.drop_broken_presets()
    return registry


@pytest.fixture(autouse=True)
def no_loading(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Fail where a model is loaded, except in a test that renders; its files need not be here."""

    def refuse(self: DiffusersRenderer) -> None:
        raise AssertionError("a model was loaded")

    if "renders" not in request.node.name:
        monkeypatch.setattr(DiffusersRenderer, "load", refuse)
        monkeypatch.setattr(DiffusersRenderer, "check", lambda self: None)


def plan(registry: PluginRegistry, text: str, tmp_path: Path, *settings: str) -> RunPlan:
    (tmp_path / "run.yaml").write_text(text)
    config = RunConfig.load(tmp_path / "run.yaml").with_settings(settings)
    return plan_run(config, registry, LAYOUT, DEPTH)


ALL = "renderers: {sd15: {alpha: 5}, sd21: , sdxl: {crop: [8, 0]}, flux: {attention: dense}}"


def test_one_word_chooses_the_base_model_and_each_keeps_its_own_options(registry, tmp_path) -> None:
    planned = plan(registry, ALL, tmp_path, "steps=7", "flux.i2i=false", "sd15.low_pass=true")
    options = {renderer.name: renderer.backend.options for renderer in planned.renderers}
    assert {name: given.steps for name, given in options.items()} == dict.fromkeys(options, 7)
    assert (options["sd15"].alpha, options["sd15"].low_pass.divisor) == (5, 8)
    assert (options["sd21"].alpha, options["sd21"].low_pass) == (10, None)
    assert options["sdxl"].crop == (8, 0)
    assert (options["flux"].attention, options["flux"].i2i) == ("dense", False)
    sizes = {renderer.name: renderer.size[0] for renderer in planned.renderers}
    assert sizes == {"sd15": 512, "sd21": 768, "sdxl": 1024, "flux": 1024}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("flux.alpha=3", "Unknown option 'alpha' for renderer 'flux'. It knows: attention, "),
        ("i2i_step=3", "Unknown option 'i2i_step' for renderer 'sd15'. It knows: alpha, "),
        ("flux.i2i_step=3", "Did you mean 'i2i_steps'?"),
        ("sd15.steps=many", "renderer 'sd15': steps is 'many'"),
        ("sd15.attention_backend=xformers", "attention_backend is 'xformers'"),
        ("sdx.steps=3", "'sdx' is not chosen. Chosen: boxes, flux, pocket-depth, sd15,"),
    ],
)
def test_wrong_options_are_refused_before_anything_loads(
    registry, tmp_path, setting: str, message: str
) -> None:
    with pytest.raises(OptionError) as caught:
        plan(registry, ALL, tmp_path, setting)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_presets_options_are_its_backends_and_can_be_overridden(registry, tmp_path) -> None:
    text = "renderers: {pocket-sd15: , pocket-sd15@long: {steps: 30}}"
    first, second = plan(registry, text, tmp_path).renderers
    assert (first.backend.options.steps, second.backend.options.steps) == (20, 30)
    with pytest.raises(OptionError, match=r"for renderer 'pocket-sd15'\. It knows: alpha,"):
        plan(registry, text, tmp_path, "pocket-sd15.alfa=1")


def test_an_ablation_is_one_config_that_renders(registry) -> None:
    off = {"control_steps": 0, "steps": 2}
    renderers = {"pocket-sd15": {"steps": 2}, "pocket-sd15@off": off}
    config = RunConfig.model_validate({"renderers": renderers})
    run = render_config(config, layout=LAYOUT, depth=DEPTH, registry=registry)
    assert [image.renderer for image in run.images] == ["pocket-sd15", "pocket-sd15@off"]
    on, plain = (np.asarray(image.image) for image in run.images)
    assert (on != plain).any()
