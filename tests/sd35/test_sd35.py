"""sd35 renders as the stock pipeline and the plan say, whatever its options are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from threedis_core.errors import OptionError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import RenderRequest, RenderResult
from threedis_core.values.schedule import ControlSchedule
from threedis_diffusers.testing import recorded
from threedis_sd35.backend import SD35Options, SD35Renderer

Make = Callable[..., SD35Renderer]
Request = Callable[..., RenderRequest]
Stock = Callable[..., Image.Image]
CAT = ("a red cat", (0.0, 0.0, 0.5, 0.5))
DOG = ("a blue dog", (0.4, 0.4, 1.0, 1.0))


def pixels(results: Sequence[RenderResult]) -> list[np.ndarray]:
    return [np.asarray(one.image).astype(int) for one in results]


@pytest.mark.parametrize("kind", ["large", "medium"])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_the_plain_model_is_the_stock_pipeline_pixel_by_pixel(
    kind: str, guidance: float, make_renderer: Make, make_request: Request, stock_picture: Stock
) -> None:
    request = make_request(
        *(CAT, DOG), negative_prompt="a crowd", seed=5, guidance=guidance, control=ControlSchedule()
    )
    (drawn,) = pixels(make_renderer(kind).render([request]))
    expected = stock_picture(request, kind, guidance_scale=guidance)
    assert np.array_equal(drawn, np.asarray(expected))


def test_the_seed_alone_decides_and_the_generator_of_torch_is_left_alone(
    make_renderer: Make, make_request: Request
) -> None:
    """The stock pipeline samples the latents of the depth from that one."""
    renderer, request = make_renderer(), make_request(CAT, seed=3)
    drawn: list[np.ndarray] = []
    for other in (0, 1):
        torch.manual_seed(other)
        before = torch.get_rng_state()
        drawn += pixels(renderer.render([request]))
        assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(*drawn)
    assert "encode" not in vars(renderer.load().pipeline.vae)


@pytest.mark.parametrize("kind", ["large", "medium"])
@pytest.mark.parametrize("tokens", [24, "auto"])
def test_what_a_batch_denoises_is_what_each_picture_denoises_alone(
    kind: str, tokens: Any, make_renderer: Make, make_request: Request
) -> None:
    requests = [
        make_request(CAT, DOG, prompt="an old fisherman in a zoo", seed=1),
        make_request(DOG, negative_prompt="a crowd at night", seed=2),
        make_request(seed=3),
    ]
    renderer = make_renderer(kind, tokens_per_prompt=tokens, steps=2)
    transformer = renderer.load().pipeline.transformer
    with recorded(transformer) as together:
        renderer.render(requests)
    for place, request in enumerate(requests):
        with recorded(transformer) as alone:
            renderer.render([request])
        for one, whole in zip(alone, together, strict=True):
            rows = whole.output[[place, place + len(requests)]]
            assert (rows - one.output).abs().max() <= 1e-5 * one.output.std()


def test_auto_keeps_of_clip_and_of_t5_what_each_prompt_needs(
    make_renderer: Make, make_request: Request
) -> None:
    """Rounded up to 8: the words of CLIP's tokenizer and of T5's are of few letters here."""
    request = make_request(CAT, ("a dog", DOG[1]), prompt="a cat and a dog in a field", seed=1)
    renderer = make_renderer(tokens_per_prompt="auto")
    pipeline, lengths = renderer.load().pipeline, []
    for prompt in ("a cat and a dog in a field", "a red cat", "a dog"):
        lengths += [
            -(-len(tokenizer(prompt).input_ids) // 8) * 8
            for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_3)
        ]
    seen: list[int] = []
    handle = pipeline.transformer.context_embedder.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].shape[1])
    )
    try:
        renderer.render([request])
    finally:
        handle.remove()
    assert set(seen) == {sum(lengths)}
    assert sum(lengths) < 77 + 256


def test_prompts_that_are_cut_are_told(make_renderer: Make, make_request: Request) -> None:
    long = "a cat and a dog " * 10
    (result,) = make_renderer().render([make_request(CAT, prompt=long)])
    told = "\n".join(result.warnings)
    assert "the prompt (" in told
    assert "but the model reads 23" in told, "T5's window, without its end mark"
    assert "what CLIP reads of the prompt" in told
    assert make_renderer().render([make_request(CAT)])[0].warnings == ()


@pytest.mark.parametrize("side", [72, 112])
def test_sizes_that_do_not_fit_are_refused_before_loading(
    side: int, folder_of: Callable[[str], Path], make_request: Request
) -> None:
    """The pipeline lets multiples of 8 pass; the table of positions ends at 96 pixels."""
    renderer = SD35Renderer(SD35Options(model=str(folder_of("large")), default_side=64))
    assert renderer.capabilities.max_size == (96, 96)
    with pytest.raises(OptionError, match=r"multiples of 16|at most 96"):
        renderer.render([make_request(CAT, size=(side, 64))])
    assert renderer.memory() == 0


def test_the_largest_picture_is_the_one_that_the_published_models_have_positions_for() -> None:
    renderer = SD35Renderer(SD35Options())
    assert renderer.capabilities.max_size == (3072, 3072)
    assert renderer.capabilities.default_size == (1024, 1024)


def test_the_presets_are_registered_with_steps_and_guidance() -> None:
    backend: Any = load_plugins().renderer("sd35-medium")
    assert isinstance(backend, SD35Renderer)
    options = backend.options
    assert (options.steps, options.guidance) == (30, 4.5)
    assert options.controlnet == "tensorart/SD3.5M-Controlnet-Depth"


@pytest.mark.parametrize("tokens", [24, "auto"])
def test_without_t5_the_clips_alone_are_read(
    tokens: Any, folder_of: Callable[[str], Path], make_request: Request, stock_picture: Stock
) -> None:
    """Zeros stand in T5's place, as in the stock pipeline without it; by auto none do."""
    given: dict[str, Any] = {"steps": 2, "guidance": 4.0, "default_side": 64}
    model = str(folder_of("large"))
    renderer = SD35Renderer(SD35Options(model=model, t5=False, tokens_per_prompt=tokens, **given))
    whole = SD35Renderer(SD35Options(model=model, **given))
    loads = [{part.name for part in one.inspect().parts if part.size} for one in (whole, renderer)]
    assert "text_encoder_3" in loads[0]
    needs = [one.inspect().memory[0].main for one in (whole, renderer)]
    assert needs[1] < needs[0]
    pipeline = renderer.load().pipeline
    assert pipeline.text_encoder_3 is None
    hooked = pixels(renderer.render([make_request(CAT, DOG)]))
    assert hooked[0].std() > 0
    with recorded(pipeline.transformer) as calls:
        renderer.render([make_request(prompt="a cat")])
    text = calls[0].inputs["encoder_hidden_states"]
    if tokens == "auto":
        assert text.shape[1] == 8
    else:
        assert text.shape[1] == 77 + 24
        assert not text[:, 77:].any()
    renderer.close()
