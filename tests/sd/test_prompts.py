"""Long prompts, weights, clip skip and learned words: what the U-Net reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from threedis_core.errors import LayoutError, OptionError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.unet.compel_prompts import compel_text
from threedis_diffusers.unet.prompts import encode_batch
from threedis_sd.backend import UNetRenderer
from threedis_sd.sd15 import SD15Renderer
from threedis_sd.sd21 import SD21Renderer
from threedis_sd.sdxl import SDXLRenderer

pytest.importorskip("compel")

RENDERERS: dict[str, type[UNetRenderer]] = {
    "sd15": SD15Renderer,
    "sd21": SD21Renderer,
    "sdxl": SDXLRenderer,
}
LEFT = (0.0, 0.0, 0.5, 1.0)
LONG = ", ".join(f"a red cat number {n} in a field" for n in range(12))


@pytest.fixture(scope="session")
def make(family_folder: Callable[[str], Path]) -> Callable[..., UNetRenderer]:
    """A renderer of a family's tiny pipeline; those without options of loading share one."""
    loaded: dict[str, UNetRenderer] = {}

    def renderer(family: str = "sd15", fresh: bool = False, **options: Any) -> UNetRenderer:
        kind = RENDERERS[family]
        made = kind(kind.Options(model=str(family_folder(family)), **{"steps": 1, **options}))
        if not fresh:
            made._loaded = loaded.setdefault(family, made).load()
        return made

    return renderer


def picture(renderer: UNetRenderer, request: RenderRequest) -> np.ndarray:
    return np.asarray(renderer.render([request])[0].image).astype(int)


@pytest.mark.parametrize("family", RENDERERS)
def test_plain_short_prompts_read_as_the_stock_pipeline_does(
    family: str, make: Callable[..., UNetRenderer]
) -> None:
    renderer = make(family)
    pipeline, device = renderer.load().pipeline, torch.device("cpu")
    texts = ["a red cat", "two dogs in a field"]
    stock, mine = renderer.encode(pipeline, texts, device), compel_text(pipeline, texts, device)
    assert torch.allclose(stock.hidden, mine.hidden, atol=1e-5)
    if stock.pooled is not None and mine.pooled is not None:
        assert torch.allclose(stock.pooled, mine.pooled, atol=1e-5)


@pytest.mark.parametrize("family", RENDERERS)
def test_long_prompts_are_read_to_their_end(
    family: str, make: Callable[..., UNetRenderer], make_request: Callable[..., RenderRequest]
) -> None:
    one, other = (
        make_request((f"{LONG}, {last}", LEFT), prompt=LONG, size=(64, 64))
        for last in ("a dog", "a house")
    )
    plain, compel = make(family), make(family, prompt_syntax="compel")
    assert np.array_equal(picture(plain, one), picture(plain, other))
    assert any("it did not read" in line for line in plain.render([one])[0].warnings)
    assert not np.array_equal(picture(compel, one), picture(compel, other))
    assert not any("it did not read" in line for line in compel.render([one])[0].warnings)


def test_rows_of_all_texts_are_as_long_as_the_longest(
    make: Callable[..., UNetRenderer], make_request: Callable[..., RenderRequest]
) -> None:
    pipeline = make().load().pipeline

    def encode(texts: list[str]) -> Any:
        return compel_text(pipeline, texts, torch.device("cpu"))

    layouts = [make_request((LONG, LEFT), prompt="a field").layout]
    text = encode_batch(encode, layouts, guided=True, repeat=False)
    window = pipeline.tokenizer.model_max_length
    assert text.rows.shape[:2] == (3, encode([LONG]).hidden.shape[1])
    assert text.rows.shape[1] > window
    nothing = encode([""]).hidden[0]
    assert torch.equal(text.rows[1, window : 2 * window], nothing)
    assert text.arguments["prompt_embeds"].shape == text.arguments["negative_prompt_embeds"].shape


def test_a_weight_counts(
    make: Callable[..., UNetRenderer], make_request: Callable[..., RenderRequest]
) -> None:
    renderer = make(prompt_syntax="compel")
    pictures = [
        picture(renderer, make_request((text, LEFT), size=(64, 64)))
        for text in ("a red cat", "a (red)2.0 cat", "a red-- cat")
    ]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_text_that_is_not_in_the_syntax_is_refused_before_loading(
    make: Callable[..., UNetRenderer], make_request: Callable[..., RenderRequest]
) -> None:
    renderer = make(fresh=True, prompt_syntax="compel")
    with pytest.raises(LayoutError, match=r"instance 0.*swap"):
        renderer.render([make_request(('a cat.swap("dog")', LEFT), size=(64, 64))])
    assert not renderer.is_loaded


@pytest.mark.parametrize("family", RENDERERS)
def test_clip_skip_reads_an_earlier_layer(
    family: str, make: Callable[..., UNetRenderer], make_request: Callable[..., RenderRequest]
) -> None:
    request = make_request(("a red cat", LEFT), size=(64, 64))
    assert not np.array_equal(
        picture(make(family), request), picture(make(family, clip_skip=1), request)
    )


def test_clip_skip_must_leave_a_layer(make: Callable[..., UNetRenderer]) -> None:
    with pytest.raises(OptionError, match=r"clip_skip is 40.*layers"):
        make(fresh=True, clip_skip=40).check()
    with pytest.raises(OptionError, match="do not go together"):
        make(fresh=True, clip_skip=1, prompt_syntax="compel")


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("syntax", ["plain", "compel"])
def test_a_learned_word_stands_for_its_embedding(
    family: str,
    syntax: str,
    make: Callable[..., UNetRenderer],
    make_request: Callable[..., RenderRequest],
    tmp_path: Path,
) -> None:
    pipeline = make(family).load().pipeline
    torch.manual_seed(0)
    widths = [pipeline.text_encoder.config.hidden_size]
    names = ["emb_params"]
    if family == "sdxl":
        widths.append(pipeline.text_encoder_2.config.hidden_size)
        names = ["clip_l", "clip_g"]
    file = tmp_path / "style.safetensors"
    save_file({n: torch.randn(2, width) for n, width in zip(names, widths, strict=True)}, file)
    request = make_request(("a <style> cat", LEFT), size=(64, 64))
    plain = picture(make(family, prompt_syntax=syntax), request)
    learned = make(family, fresh=True, prompt_syntax=syntax, embeddings={"<style>": str(file)})
    assert not np.array_equal(plain, picture(learned, request))


def test_an_embedding_that_is_not_there_is_refused_before_loading(
    make: Callable[..., UNetRenderer],
) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        make(fresh=True, embeddings={"<style>": "nowhere.safetensors"}).check()


def test_clip_skip_is_the_final_norm_after_an_earlier_layer(
    make: Callable[..., UNetRenderer],
) -> None:
    renderer = make(clip_skip=1)
    pipeline, device = renderer.load().pipeline, torch.device("cpu")
    encoder, layers = pipeline.text_encoder, pipeline.text_encoder.encoder.layers
    read = renderer.encode(pipeline, ["a red cat"], device).hidden
    ids = pipeline.tokenizer(["a red cat"], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        states = encoder(ids, output_hidden_states=True).hidden_states
        assert torch.allclose(read, encoder.final_layer_norm(states[-2]), atol=1e-6)
    assert encoder.encoder.layers is layers
