"""What z-image computes: exact where it must be, at every site, and refused where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ZImageControlNetModel, ZImageControlNetPipeline, ZImageTransformer2DModel
from safetensors.torch import save_file
from torch import Tensor, nn

from threedis_core.attention import CONTROLS, JointPhases, JointRow
from threedis_core.attention.lowering import MAKERS
from threedis_core.errors import OptionError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.joint.hook import attached
from threedis_diffusers.joint.lowering import always
from threedis_diffusers.joint.processor import PlannedProcessor, attention_modules
from threedis_z_image.backend import ZImageOptions, ZImageRenderer
from threedis_z_image.controlnets import describe, sites
from threedis_z_image.hook import ZImageHook

from .conftest import CONTROLNETS, TRANSFORMER, save, tiny_controlnet, tiny_pipeline

Make = Callable[..., ZImageRenderer]
Request = Callable[..., RenderRequest]
LEFT, RIGHT, ALL = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)
ALWAYS = ControlSchedule({name: StepRange() for name in (*CONTROLS, "texts")})
EXACT = 1e-5
"""How far latents may be apart that must be equal, of their standard deviation."""
WIDE = (128, 64)
"""A width and height of 32 image tokens; of the default size there are half as many."""
LONG = "a very long story about animals in a field " * 3


def latents(renderer: ZImageRenderer, *requests: RenderRequest) -> Tensor:
    """What a batch comes to before it is decoded."""
    (batch, _), *others = renderer._batches(requests)
    assert not others
    drawn = renderer.draw_batch(renderer.load(), batch, lambda done, of: None, output_type="latent")
    return drawn.images.flatten(1)


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.std())


def stock_latents(folder: Path, request: RenderRequest, **changes: Any) -> Tensor:
    """The stock pipeline's latents of the first instance's prompt, without anything of ours."""
    pipeline: Any = ZImageControlNetPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    given: dict[str, Any] = {
        "control_image": request.depth.resize(request.width, request.height).to_image(),
        "width": request.width,
        "height": request.height,
        "generator": torch.Generator().manual_seed(request.seed),
        "num_inference_steps": 3,
        "guidance_scale": 0.0,
        "output_type": "latent",
    }
    return pipeline([request.layout.instances[0].prompt], **{**given, **changes}).images.flatten(1)


@pytest.mark.parametrize("prompt", ["a red cat", LONG])
@pytest.mark.parametrize("kind", CONTROLNETS)
def test_an_instance_of_the_whole_picture_is_what_the_stock_pipeline_draws_of_its_prompt(
    kind: str,
    prompt: str,
    folder_of: Callable[[str], Path],
    make_renderer: Make,
    make_request: Request,
) -> None:
    """Its text is where the model has text, with padding of its own, and the image where it was.

    So the global prompt has as many tokens, padding included: they push the image on.
    """
    request = make_request(
        (prompt, ALL), ("a dog", LEFT), prompt=prompt.replace("a", "e"), size=WIDE
    )
    nobody = np.zeros(WIDE[::-1], np.bool_)
    regions = Regions(request.regions.boxes, (None, nobody), *WIDE[::-1])
    request = replace(request, control=ALWAYS, regions=regions)
    drawn = latents(make_renderer(kind), request)
    assert apart(drawn, stock_latents(folder_of(kind), request)) <= EXACT


@pytest.mark.parametrize("lowering", [name for name in MAKERS if name != "block_mask"])
@pytest.mark.parametrize("kind", CONTROLNETS)
def test_a_text_that_nobody_may_see_is_as_if_it_was_absent(
    kind: str, lowering: str, make_renderer: Make, make_request: Request
) -> None:
    """Two halves leave no background, and one more instance has no region."""
    texts = [("a red cat", LEFT), ("a blue dog", RIGHT)]
    nowhere = np.zeros((64, 64), np.bool_)

    def request(*hidden: str) -> RenderRequest:
        made = make_request(*texts, *((text, LEFT) for text in hidden), control=ALWAYS)
        masks = (None, None, *(nowhere for _ in hidden))
        return replace(made, regions=Regions(made.regions.boxes, masks, 64, 64), depth=depth)

    depth = make_request(*texts).depth
    renderer = make_renderer(kind, attention=lowering)
    absent, hidden, other = (
        latents(renderer, request(*some)) for some in ((), ("a cat",), (LONG,))
    )
    assert apart(hidden, absent) <= EXACT
    assert apart(other, absent) <= EXACT
    heard = latents(renderer, make_request(*texts, ("a cat", LEFT), control=ALWAYS))
    assert apart(heard, absent) > 100 * EXACT


@pytest.mark.parametrize("kind", CONTROLNETS)
def test_regions_that_cover_the_picture_hear_each_other_at_no_step(
    kind: str, make_renderer: Make, make_request: Request
) -> None:
    """Every attention is the hook's, the ControlNet's own and its refiner's among them."""
    renderer, width = make_renderer(kind), 8
    one, other = (
        latents(
            renderer, make_request(("a red cat", LEFT), (text, RIGHT), size=WIDE, control=ALWAYS)
        ).unflatten(1, (-1, width, 2 * width))
        for text in ("a blue dog", LONG)
    )
    assert apart(one[..., :width], other[..., :width]) <= EXACT
    assert apart(one[..., width:], other[..., width:]) > 100 * EXACT


@pytest.mark.parametrize("guidance", [0.0, 2.0])
@pytest.mark.parametrize("kind", CONTROLNETS)
def test_pictures_of_a_batch_are_as_if_alone_though_their_texts_are_of_other_length(
    kind: str, guidance: float, make_renderer: Make, make_request: Request
) -> None:
    renderer = make_renderer(kind)
    requests = [
        make_request(("a red cat", LEFT), prompt=LONG, guidance=guidance),
        make_request(
            *(("a dog", LEFT), ("a horse", RIGHT)),
            prompt="animals",
            negative_prompt=LONG if guidance else "",
            seed=1,
            guidance=guidance,
        ),
        make_request(prompt="nothing", guidance=guidance),
    ]
    together = latents(renderer, *requests)
    for picture, request in zip(together, requests, strict=True):
        assert apart(picture, latents(renderer, request)[0]) <= EXACT
    pictures = renderer.render(requests)
    for picture, request in zip(pictures, requests, strict=True):
        (alone,) = renderer.render([request])
        pixels = [np.asarray(one.image).astype(int) for one in (picture, alone)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 2


def test_prompts_are_left_as_they_are_and_each_is_as_long_as_it_is(make_renderer: Make) -> None:
    renderer = make_renderer()
    prompts = ["a cat", "a red cat"]
    found = renderer.encode(renderer.load().pipeline, prompts, 512)
    assert prompts == ["a cat", "a red cat"]
    assert [len(text) for text in found.hidden] == [15, 19]


def test_what_is_cut_off_a_prompt_is_told(make_renderer: Make, make_request: Request) -> None:
    """The template has six tokens in front: its mark and five letters."""
    renderer = make_renderer(tokens_per_prompt=16)
    (drawn,) = renderer.render([make_request(("a cat", ALL), prompt="0123456789abc")])
    assert [line for line in drawn.warnings if "did not read" in line] == [
        "the prompt ('0123456789abc') has 13 tokens, but the model reads 10; it did not read "
        "'abc': shorten the prompt"
    ]


def test_the_longest_prompts_move_no_token_off_the_tables(
    make_renderer: Make, make_request: Request
) -> None:
    request = make_request(*[("dog " * 200, ALL)] * 3, prompt="cat " * 200)
    assert torch.isfinite(latents(make_renderer(), request)).all()


def test_a_negative_prompt_without_guidance_is_told(
    make_renderer: Make, make_request: Request
) -> None:
    (drawn,) = make_renderer().render([make_request(negative_prompt="fog")])
    assert any("no effect without guidance" in line for line in drawn.warnings)


def test_a_picture_larger_than_the_tables_of_positions_is_refused(
    make_renderer: Make, make_request: Request
) -> None:
    renderer = make_renderer()
    assert renderer.capabilities.max_size == (384, 384)
    with pytest.raises(OptionError, match="384"):
        renderer.render([make_request(size=(400, 64))])


def test_each_attention_is_hooked_once(make_renderer: Make, make_request: Request) -> None:
    """The ControlNet runs the transformer's refiners, whose processors are hooked already."""
    renderer = make_renderer("2.0")
    pipeline = renderer.load().pipeline
    found: list[Any] = []

    def look(*_: Any) -> None:
        found.extend(module.processor for _, module in attention_modules(pipeline.transformer))
        found.extend(module.processor for _, module in attention_modules(pipeline.controlnet))

    handle = pipeline.controlnet.register_forward_pre_hook(look)
    renderer.render([make_request(("a cat", LEFT), control=ALWAYS)])
    handle.remove()
    assert found
    assert {type(one) for one in found} == {PlannedProcessor}
    assert not any(isinstance(one.stock, PlannedProcessor) for one in found)


@pytest.mark.parametrize("kind", CONTROLNETS)
def test_a_controlnet_in_one_file_is_that_of_its_folder_and_asks_no_hub(
    kind: str, make_renderer: Make, make_request: Request, tmp_path: Path
) -> None:
    folder = save(tiny_pipeline(kind), tmp_path / "model")
    weights = ZImageControlNetModel.from_pretrained(folder / "controlnet").state_dict()
    if kind == "2.0":  # its file has layers that it does not use
        spare = tiny_controlnet("2.1").state_dict()
        spare = {name: w for name, w in spare.items() if name.startswith("control_noise_refiner")}
        name = "control_noise_refiner.0.before_proj.weight"
        weights = {**weights, **spare, name: torch.zeros(32, 32)}
    save_file(weights, tmp_path / "one.safetensors")
    request = make_request(("a cat", LEFT))
    one, other = (
        latents(make_renderer(model=str(folder), controlnet=named), request)
        for named in (None, str(tmp_path / "one.safetensors"))
    )
    assert torch.equal(one, other)


PUBLISHED: dict[str, tuple[str, int, int, list[int]]] = {
    "1": ("1", 16, 6, [0, 5, 10, 15, 20, 25]),
    "2.0": ("2.0", 33, 15, [*range(0, 30, 2)]),
    "2.1": ("2.1", 33, 15, [*range(0, 30, 2)]),
    "2.1-lite": ("2.1", 33, 3, [0, 10, 20]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_files_tell_what_they_are(name: str, tmp_path: Path) -> None:
    kind, channels, layers, places = PUBLISHED[name]
    changes = {"control_in_dim": channels, "control_layers_places": places, "n_refiner_layers": 2}
    model = tiny_controlnet(kind, control_refiner_layers_places=[0, 1], **changes)
    for weight in model.parameters():
        nn.init.normal_(weight)
    save_file(model.state_dict(), tmp_path / "one.safetensors")
    transformer = ZImageTransformer2DModel(**{**TRANSFORMER, "n_layers": 30, "n_refiner_layers": 2})
    found = describe(tmp_path / "one.safetensors", transformer.config)
    assert len(places) == layers
    assert {key: model.config[key] for key in found} == found


def test_a_controlnet_of_another_model_is_refused(make_renderer: Make, tmp_path: Path) -> None:
    tiny_controlnet("1", dim=64, n_heads=4).save_pretrained(tmp_path / "other")
    with pytest.raises(WeightsError, match="has dim 64, but the model has 32"):
        make_renderer(controlnet=str(tmp_path / "other")).check()
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="of another kind"):
        make_renderer(controlnet=str(tmp_path / "other.safetensors")).check()


@pytest.mark.parametrize("name", PUBLISHED)
@torch.no_grad()
def test_the_full_size_models_are_hooked_at_every_site_and_the_plans_fit(name: str) -> None:
    """No weights and no numbers: the shapes of a whole step, two pictures of 1008 x 1024 pixels."""
    kind, channels, layers, places = PUBLISHED[name]
    renderer = ZImageRenderer(ZImageOptions(model="Tongyi-MAI/Z-Image-Turbo"))
    meta, grid = torch.device("meta"), (63, 64)
    with meta:
        transformer: Any = ZImageTransformer2DModel()
        controlnet: Any = ZImageControlNetModel(
            control_layers_places=places,
            control_refiner_layers_places=[0, 1],
            control_in_dim=channels,
            add_control_noise_refiner=CONTROLNETS[kind]["add_control_noise_refiner"],
        )
    for model in (transformer, controlnet):
        model.to(torch.bfloat16)
    ZImageControlNetModel.from_transformer(controlnet, transformer)
    masks = np.zeros((4, *grid), np.bool_)
    for index, mask in enumerate(masks):
        mask[:, index * 16 : index * 16 + 12] = True
    texts = [torch.zeros(n, 2560, dtype=torch.bfloat16, device=meta) for n in (40, 9, 33, 12, 7)]
    rows = [JointRow(texts, masks), JointRow(texts[:2], masks[:1])]
    phases = JointPhases(rows, ALWAYS, always("dense"), meta, renderer.token_order(grid))
    hooks = (
        ZImageHook(transformer, phases, renderer.site),
        ZImageHook(controlnet, phases, sites(controlnet)),
    )
    images = [torch.zeros(16, 1, 126, 128, dtype=torch.bfloat16, device=meta)] * 2
    with attached(hooks[0]), attached(hooks[1]):
        assert hooks[0].phase is hooks[1].phase
        hooked = [m.processor for _, m in attention_modules(controlnet)]
        assert len(hooked) == layers + (0 if kind == "2.0" else 2) + 4
        hooked += [module.processor for _, module in attention_modules(transformer)]
        assert {type(one) for one in hooked} == {PlannedProcessor}
        out = transformer(images, torch.ones(2, device=meta), texts[:2], return_dict=False)[0]
    assert [one.shape for one in out] == [(16, 1, 126, 128)] * 2
