"""What qwen-image computes: exact where it must be, and refused where it cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import QwenImageControlNetModel, QwenImageTransformer2DModel
from torch import Tensor

from threedis_core.attention import CONTROLS, JointPhases, JointRow
from threedis_core.attention.lowering import MAKERS
from threedis_core.errors import WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.joint.hook import attached
from threedis_diffusers.joint.lowering import always
from threedis_diffusers.joint.processor import PlannedProcessor, attention_modules
from threedis_diffusers.quantized.told import stored_as
from threedis_qwen_image.backend import QwenImageOptions, QwenImageRenderer
from threedis_qwen_image.hook import QwenImageHook

from .conftest import tiny_controlnet

Make = Callable[..., QwenImageRenderer]
Request = Callable[..., RenderRequest]
LEFT, RIGHT, ALL = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)
ALWAYS = ControlSchedule({name: StepRange() for name in (*CONTROLS, "texts")})
EXACT = 1e-5
"""How far latents may be apart that must be equal, of their standard deviation."""
LONG = "a very long story about a red sphere on the floor and a blue cone " * 3


def latents(renderer: QwenImageRenderer, *requests: RenderRequest) -> Tensor:
    """What a batch comes to before it is decoded."""
    (batch, _), *others = renderer._batches(requests)
    assert not others
    drawn = renderer.draw_batch(renderer.load(), batch, lambda done, of: None, output_type="latent")
    return drawn.images.flatten(1)


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.std())


def covering(request: RenderRequest) -> RenderRequest:
    """The first instance covers the picture; the others have no region."""
    nobody = np.zeros((request.height, request.width), np.bool_)
    masks = (None, *(nobody for _ in request.layout.instances[1:]))
    regions = Regions(request.regions.boxes, masks, request.height, request.width)
    return replace(request, regions=regions, control=ALWAYS)


def check_alone(make_renderer: Make, make_request: Request, stock: Callable[..., Any]) -> None:
    """An instance of the whole picture is what the stock pipeline draws of its prompt.

    Without the ControlNet, which reads the global prompt. Another instance stands in front.
    """
    request = covering(
        make_request(("a red cat", ALL), ("a dog", LEFT), prompt=LONG, negative_prompt="fog")
    )
    drawn = latents(make_renderer(controlnet_scale=0), request)
    given = {"controlnet_conditioning_scale": 0.0, "output_type": "latent"}
    expected = stock(request, prompt=["a red cat"], **given).flatten(1)
    assert apart(drawn, expected) <= EXACT


def test_an_instance_of_the_whole_picture_is_what_the_stock_pipeline_draws_of_its_prompt(
    make_renderer: Make, make_request: Request, stock: Callable[..., Any]
) -> None:
    check_alone(make_renderer, make_request, stock)


def test_the_second_instances_text_is_where_the_firsts_is(
    make_renderer: Make, make_request: Request
) -> None:
    """So the order of the instances changes nothing."""
    renderer = make_renderer()
    cat, dog = ("a very red cat with a hat", LEFT), ("a dog", RIGHT)
    depth = make_request(cat, dog).depth
    one, other = (
        latents(renderer, replace(make_request(*both, control=ALWAYS), depth=depth))
        for both in ((cat, dog), (dog, cat))
    )
    assert apart(one, other) <= EXACT


@pytest.mark.parametrize("lowering", [name for name in MAKERS if name != "block_mask"])
def test_a_text_that_nobody_may_see_is_as_if_it_was_absent(
    lowering: str, make_renderer: Make, make_request: Request
) -> None:
    """Two halves leave no background, and one more instance, in front, has no region."""
    texts = [("a red cat", LEFT), ("a blue dog", RIGHT)]
    nowhere = np.zeros((64, 64), np.bool_)

    def request(*hidden: str) -> RenderRequest:
        made = make_request(*((text, LEFT) for text in hidden), *texts, control=ALWAYS)
        masks = (*(nowhere for _ in hidden), None, None)
        return replace(made, regions=Regions(made.regions.boxes, masks, 64, 64), depth=depth)

    depth = make_request(*texts).depth
    renderer = make_renderer(attention=lowering)
    absent, hidden, other = (
        latents(renderer, request(*some)) for some in ((), ("a cat",), (LONG,))
    )
    assert apart(hidden, absent) <= EXACT
    assert apart(other, absent) <= EXACT
    heard = latents(renderer, make_request(*texts, ("a cat", LEFT), control=ALWAYS))
    assert apart(heard, absent) > 100 * EXACT


def check_regions(make_renderer: Make, make_request: Request) -> None:
    """Regions that cover the picture hear each other at no step.

    Without the ControlNet, which mixes them.
    """
    renderer = make_renderer(controlnet_scale=0, guidance=1.0)
    one, other = (
        latents(
            renderer,
            make_request(("a red cat", LEFT), (text, RIGHT), size=(64, 64), control=ALWAYS),
        ).unflatten(1, (8, 8, -1))
        for text in ("a blue dog", LONG)
    )
    assert apart(one[:, :, :4], other[:, :, :4]) <= EXACT
    assert apart(one[:, :, 4:], other[:, :, 4:]) > 100 * EXACT


def test_regions_that_cover_the_picture_hear_each_other_at_no_step(
    make_renderer: Make, make_request: Request
) -> None:
    check_regions(make_renderer, make_request)


def check_negative(make_renderer: Make, make_request: Request, stock: Callable[..., Any]) -> None:
    """Of the two calls of a step the hook is in the first alone, whatever both read."""
    renderer = make_renderer()
    for negative in ("a red cat", "a sea star", "", LONG):
        request = make_request(
            ("a blue dog", ALL), prompt="a red cat", negative_prompt=negative, control=ALWAYS
        )
        calls: list[Tensor] = []
        transformer = renderer.load().pipeline.transformer
        handle = transformer.register_forward_hook(lambda *args, c=calls: c.append(args[-1][0]))
        latents(renderer, request)
        handle.remove()
        plain: list[Tensor] = []
        handle = transformer.register_forward_hook(lambda *args, c=plain: c.append(args[-1][0]))
        latents(renderer, replace(request, control=ControlSchedule()))
        handle.remove()
        assert len(calls) == len(plain) == 2 * 3
        assert apart(calls[1], plain[1]) <= EXACT
        assert apart(calls[0], plain[0]) > 100 * EXACT
        expected = stock(request, negative_prompt=[negative], output_type="latent").flatten(1)
        drawn = latents(renderer, replace(request, control=ControlSchedule()))
        assert apart(drawn, expected) <= EXACT


def test_negative_prompts_are_left_alone_though_they_read_like_the_prompt(
    make_renderer: Make, make_request: Request, stock: Callable[..., Any]
) -> None:
    """One is the prompt itself, one as long as it is."""
    check_negative(make_renderer, make_request, stock)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_pictures_of_a_batch_are_as_if_alone_though_their_texts_are_of_other_length(
    guidance: float, make_renderer: Make, make_request: Request
) -> None:
    renderer = make_renderer()
    requests = [
        make_request(("a red cat", LEFT), prompt=LONG, guidance=guidance),
        make_request(
            *(("a dog", LEFT), ("a horse with a hat", RIGHT)),
            prompt="animals",
            negative_prompt=LONG if guidance > 1 else "",
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


def test_texts_without_any_control_are_at_their_places_too(
    make_renderer: Make, make_request: Request
) -> None:
    """Everybody sees everybody then: two pictures that differ in the order of texts are one."""
    heard = ControlSchedule({"texts": StepRange()})
    renderer = make_renderer()
    cat, dog = ("a very red cat with a hat", LEFT), ("a dog", RIGHT)
    depth = make_request(cat, dog).depth
    one, other = (
        latents(renderer, replace(make_request(*both, control=heard), depth=depth))
        for both in ((cat, dog), (dog, cat))
    )
    assert apart(one, other) <= EXACT


def test_lettering_reaches_the_tokenizer_as_it_was_written(
    make_renderer: Make, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = make_renderer()
    sign = 'a sign that says "Fresh  Bread, 5€ — open 24/7"'
    pipeline, read = renderer.load().pipeline, list[str]()
    stock = pipeline.encode_prompt

    def encode(prompt: list[str] | None, **arguments: Any) -> Any:
        read.extend(prompt or ())
        return stock(prompt, **arguments)

    monkeypatch.setattr(pipeline, "encode_prompt", encode)
    renderer.render([make_request((sign, LEFT), prompt="a shop")])
    assert sign in read


def test_what_is_cut_off_a_prompt_is_told(make_renderer: Make, make_request: Request) -> None:
    """Behind a prompt the template has five tokens, which are cut off first."""
    renderer = make_renderer(tokens_per_prompt=4)
    (drawn,) = renderer.render([make_request(("a cat", ALL), prompt="a red cube and a blue cone")])
    assert any("did not read" in line and "the prompt (" in line for line in drawn.warnings)
    (drawn,) = make_renderer().render([make_request(("a cat", ALL), prompt=LONG * 3)])
    assert not any("did not read" in line for line in drawn.warnings)


def test_a_prompt_longer_than_the_pipelines_512_tokens_is_read_whole(
    make_renderer: Make, make_request: Request
) -> None:
    renderer = make_renderer(guidance=1.0)
    base = "a red cube and a blue cone on the floor, " * 60
    one, other = (
        latents(renderer, make_request(prompt=base + end)) for end in ("a cone", "a sphere")
    )
    assert apart(one, other) > 100 * EXACT


def test_a_negative_prompt_without_guidance_is_told(
    make_renderer: Make, make_request: Request
) -> None:
    (drawn,) = make_renderer(guidance=1.0).render([make_request(negative_prompt="fog")])
    assert any("no effect without guidance" in line for line in drawn.warnings)


def test_a_controlnet_of_another_model_is_refused(make_renderer: Make, tmp_path: Path) -> None:
    tiny_controlnet(num_attention_heads=3).save_pretrained(tmp_path / "other")
    with pytest.raises(WeightsError, match="num_attention_heads 3, but the model has 2"):
        make_renderer(controlnet=str(tmp_path / "other")).check()


def test_a_gguf_transformer_stays_packed_and_makes_nearly_the_same_picture(
    folder: Path,
    make_renderer: Make,
    make_request: Request,
    benchmark: Callable[[str], ModuleType],
    tmp_path: Path,
) -> None:
    pytest.importorskip("gguf")
    weights = QwenImageTransformer2DModel.from_pretrained(folder / "transformer").state_dict()
    file = benchmark("quantized_files").write_gguf(weights, tmp_path / "qwen-image-Q8_0.gguf")
    request = make_request(("a red cat", LEFT))
    renderer = make_renderer(transformer=str(file))
    plain, packed = (
        np.asarray(one.render([request])[0].image).astype(int)
        for one in (make_renderer(), renderer)
    )
    transformer = renderer.load().pipeline.transformer
    assert "GGUFParameter" in {type(weight).__name__ for weight in transformer.parameters()}
    assert 0 < np.abs(plain - packed).mean() < 3


def test_fp8_for_the_large_parts(make_renderer: Make, make_request: Request) -> None:
    renderer = make_renderer(quantization="fp8")
    renderer.render([make_request(("a red cat", LEFT))])
    stored = stored_as(renderer.load().pipeline.components)
    assert stored.keys() == {"transformer", "controlnet", "text_encoder"}


def test_the_doctor_tells_a_missing_file(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "model")
    assert QwenImageRenderer(QwenImageOptions(model=str(other), default_side=64)).inspect().ready
    (other / "text_encoder" / "model.safetensors").unlink()
    found = QwenImageRenderer(QwenImageOptions(model=str(other), default_side=64)).inspect()
    assert {part.name for part in found.parts if part.missing} == {"text_encoder"}


@torch.no_grad()
def test_the_full_size_transformer_is_hooked_at_every_site_and_the_plans_fit() -> None:
    """No weights and no numbers: the shapes of a whole step, two pictures of 1008 x 1024 pixels."""
    meta, grid = torch.device("meta"), (63, 64)
    with meta:
        transformer: Any = QwenImageTransformer2DModel()
        controlnet: Any = QwenImageControlNetModel(num_layers=5)
    for model in (transformer, controlnet):
        model.to(torch.bfloat16)
    masks = np.zeros((4, *grid), np.bool_)
    for index, mask in enumerate(masks):
        mask[:, index * 16 : index * 16 + 12] = True
    texts = [torch.zeros(n, 3584, dtype=torch.bfloat16, device=meta) for n in (40, 9, 33, 12, 7)]
    rows = [JointRow(texts, masks), JointRow(texts[:2], masks[:1])]
    phases = JointPhases(rows, ALWAYS, always("dense"), meta)
    hook = QwenImageHook(transformer, phases)
    hook._is_positive = lambda text: True  # type: ignore[method-assign]
    image = torch.zeros(2, 63 * 64, 64, dtype=torch.bfloat16, device=meta)
    given: dict[str, Any] = {
        "hidden_states": image,
        "timestep": torch.ones(2, device=meta),
        "encoder_hidden_states": torch.zeros(2, 40, 3584, dtype=torch.bfloat16, device=meta),
        "encoder_hidden_states_mask": torch.ones(2, 40, device=meta),
        "img_shapes": [(1, *grid)] * 2,
        "return_dict": False,
    }
    with attached(hook):
        hooked = [module.processor for _, module in attention_modules(transformer)]
        assert len(hooked) == 60
        assert {type(one) for one in hooked} == {PlannedProcessor}
        controls = controlnet(controlnet_cond=image, **given)
        (out,) = transformer(controlnet_block_samples=controls, **given)
    assert out.shape == (2, 63 * 64, 64)
    assert not any(
        isinstance(module.processor, PlannedProcessor)
        for _, module in attention_modules(transformer)
    )
