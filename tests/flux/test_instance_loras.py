"""LoRAs of instances in FLUX: exact where they count, absent elsewhere, and no trace afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxControlPipeline
from torch import Tensor, nn

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.layout import Layout
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import FluxOptions

peft = pytest.importorskip("peft")

EVERYWHERE = (0.0, 0.0, 1.0, 1.0)
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
LAYERS = (
    r".*(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out|net\.2|proj_mlp|proj_out)"
    r"|(x|context)_embedder"
)
NORMS = r".*(norm|norm1|norm1_context|norm_out)\.linear"
TIME = r".*timestep_embedder\.linear_1"


def random_lora(model: nn.Module, targets: Any, seed: int) -> Any:
    model.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, target_modules=targets))
    torch.manual_seed(seed)
    state = peft.get_peft_model_state_dict(model)
    return {name: torch.randn_like(weight) * 0.2 for name, weight in state.items()}


@pytest.fixture(scope="session")
def loras(pipeline_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """LoRAs on tokens' layers, on the norms' modulation, and on everything with CLIP."""
    folder = tmp_path_factory.mktemp("lora")
    kinds = {"tokens": LAYERS, "norms": NORMS, "all": f"{LAYERS}|{NORMS}|{TIME}"}
    for seed, (name, targets) in enumerate(kinds.items()):
        pipeline = FluxControlPipeline.from_pretrained(pipeline_folder)
        states = {"transformer_lora_layers": random_lora(pipeline.transformer, targets, seed)}
        if name == "all":
            text = random_lora(pipeline.text_encoder, ["q_proj", "v_proj"], seed)
            states["text_encoder_lora_layers"] = text
        pipeline.save_lora_weights(folder, weight_name=f"{name}.safetensors", **states)
    return {name: str(folder / f"{name}.safetensors") for name in kinds}


@pytest.fixture(scope="session")
def render(pipeline_folder: Path) -> Callable[..., Tensor]:
    """Latents of requests that are one batch, in float64, where rounding is small."""

    def draw(*requests: RenderRequest, renderer: FluxRenderer | None = None, **options: Any) -> Any:
        small = {"steps": 2, "tokens_per_prompt": 12, "default_side": 64, **options}
        mine = renderer or FluxRenderer(FluxOptions(model=str(pipeline_folder), **small))
        loaded = mine.load()
        loaded.pipeline.to(torch.float64)
        (batch, _), *others = mine._batches(requests)
        assert not others
        return mine.draw_batch(loaded, batch, lambda done, of: None, output_type="latent").images

    return draw


def with_loras(request: RenderRequest, *loras: Any) -> RenderRequest:
    """The request with ``loras`` for each of its instances."""
    plain = request.layout.to_dict()
    for instance, names in zip(plain["instances"], loras, strict=True):
        instance["loras"] = names
    return replace(request, layout=Layout.from_dict(plain))


def largest(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the deviation of ``one``."""
    return float((one - other).abs().max() / one.std())


@pytest.mark.parametrize("lowering", ["dense", "segments", "block_mask"])
@pytest.mark.parametrize("kind", ["tokens", "norms", "all"])
def test_in_a_region_that_is_everywhere_it_is_a_global_lora(
    kind: str,
    lowering: str,
    render: Callable[..., Tensor],
    make_request: Callable[..., RenderRequest],
    loras: dict[str, str],
) -> None:
    request = make_request(("a red cat", EVERYWHERE), ("a dog", LEFT))
    options = {"attention": lowering}
    plain = render(request, **options)
    everywhere = render(request, loras=[{"path": loras[kind], "weight": 0.7}], **options)
    own = with_loras(request, [{"name": "style", "weight": 0.7}], [])
    mine = render(own, instance_loras={"style": loras[kind]}, **options)
    assert largest(everywhere, plain) > 0.01
    assert largest(everywhere, mine) < 1e-6


def test_at_weight_0_it_is_as_without(
    render: Callable[..., Tensor],
    make_request: Callable[..., RenderRequest],
    loras: dict[str, str],
) -> None:
    request = make_request(("a red cat", LEFT), ("a dog", RIGHT))
    plain = render(request)
    options = {"style": loras["all"], "off": {"path": loras["all"], "weight": 0}}
    zero = with_loras(request, [{"name": "style", "weight": 0}], ["off"])
    assert largest(plain, render(zero, instance_loras=options)) < 1e-12
    assert largest(plain, render(request, instance_loras=options)) < 1e-12


@pytest.mark.parametrize("kind", ["tokens", "norms"])
@pytest.mark.parametrize("lowering", ["dense", "block_mask"])
def test_while_regions_are_apart_the_others_pixels_are_as_without(
    kind: str,
    lowering: str,
    render: Callable[..., Tensor],
    make_request: Callable[..., RenderRequest],
    loras: dict[str, str],
) -> None:
    request = make_request(("a red cat", LEFT), ("a dog", RIGHT))
    own = with_loras(request, ["style"], [])
    options = {"attention": lowering, "steps": 1}
    change = (
        render(own, instance_loras={"style": loras[kind]}, **options) - render(request, **options)
    ).abs()
    left, right = change.unflatten(1, (4, 4)).chunk(2, 2)
    assert float(left.max()) > 1e-3
    assert float(right.max()) < 1e-12


def test_pictures_of_one_layout_go_together_and_each_is_as_alone(
    pipeline_folder: Path,
    render: Callable[..., Tensor],
    make_request: Callable[..., RenderRequest],
    loras: dict[str, str],
) -> None:
    first = with_loras(make_request(("a red cat", LEFT), ("a dog", RIGHT)), ["style"], [])
    second = replace(first, seed=1)
    options = {"instance_loras": {"style": loras["all"]}}
    together = render(first, second, **options)
    for one, request in zip(together, (first, second), strict=True):
        assert largest(one, render(request, **options)[0]) < 1e-6


def test_it_leaves_no_trace_in_the_model_even_after_an_error(
    pipeline_folder: Path,
    render: Callable[..., Tensor],
    make_request: Callable[..., RenderRequest],
    loras: dict[str, str],
) -> None:
    renderer = FluxRenderer(
        FluxOptions(
            model=str(pipeline_folder),
            steps=2,
            tokens_per_prompt=12,
            default_side=64,
            instance_loras={"style": loras["all"]},
        )
    )
    plain = make_request(("a red cat", LEFT))
    own = with_loras(plain, ["style"])
    before = render(plain, renderer=renderer)
    pipeline = renderer.load().pipeline

    def state() -> tuple[Any, ...]:
        modules = [
            module
            for part in (pipeline.transformer, pipeline.text_encoder)
            for module in part.modules()
        ]
        hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules]
        return hooks, list(pipeline.transformer.attn_processors.values())

    clean = state()
    render(own, renderer=renderer)
    assert state() == clean

    def fail(stage: str, done: int, total: int) -> None:
        if stage == "render":
            raise KeyError

    with pytest.raises(KeyError):
        renderer.render([own], fail)
    assert state() == clean
    assert torch.equal(before, render(plain, renderer=renderer))


def test_what_has_no_place_is_left_out_and_said(
    pipeline_folder: Path, make_request: Callable[..., RenderRequest], loras: dict[str, str]
) -> None:
    renderer = FluxRenderer(
        FluxOptions(
            model=str(pipeline_folder),
            steps=1,
            tokens_per_prompt=12,
            default_side=64,
            instance_loras={"style": loras["all"], "clean": loras["norms"]},
        )
    )
    request = with_loras(make_request(("a red cat", LEFT)), ["style", "clean"])
    warnings = [line for line in renderer.render([request])[0].warnings if "LoRA" in line]
    assert len(warnings) == 1
    assert "'style'" in warnings[0]
    assert "time_text_embed" in warnings[0]
