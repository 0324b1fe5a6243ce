"""What learns from the shipped pocket-flux: its parts, its texts and its recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    StableDiffusion3ControlNetPipeline,
    ZImageControlNetModel,
    ZImageControlNetPipeline,
)
from torch import Tensor

from threedis_pocket.flux_controlnet_models import build_flux_controlnet
from threedis_pocket.flux_models import build_flux_transformer
from threedis_pocket.qwen_tokenizer import build_qwen_tokenizer, templated
from threedis_pocket.sd3_models import (
    JOINT_WIDTH,
    build_sd3_controlnet,
    build_sd3_scheduler,
    build_sd3_transformer,
    widen_t5,
    with_projection,
)
from threedis_pocket.tokenizer import WORDS
from threedis_pocket.training import shipped, work
from threedis_pocket.training.data import pictures
from threedis_pocket.training.diffusion import encode_depth, encode_latents, whole_caption
from threedis_pocket.training.flow import pack
from threedis_pocket.training.recipes import run_recipe
from threedis_pocket.training.sets import LatentSet
from threedis_pocket.training.students import FluxControlNetTask, SD3Task, unpack, widened
from threedis_pocket.training.text import pad_to
from threedis_pocket.training.z_image import ZImageTask
from threedis_pocket.z_image_models import (
    build_qwen,
    build_z_image_controlnet,
    build_z_image_scheduler,
    build_z_image_transformer,
)

CAPTIONS = ["a red sphere and a blue cube", ""]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[LatentSet]:
    data, vae = pictures(tmp_path_factory.mktemp("data"), "validation", 4), shipped.flux_vae()
    return [LatentSet(data, encode_latents(vae, data), encode_depth(vae, data))]


def sd3_task(sets: list[LatentSet]) -> SD3Task:
    torch.manual_seed(0)
    models = build_sd3_controlnet(), shipped.open_clip()[0], build_sd3_transformer()
    return SD3Task(shipped.flux_transformer(), *models, shipped.clip(), shipped.t5(), sets)


def sd3_pipeline(task: SD3Task) -> StableDiffusion3ControlNetPipeline:
    text_encoder_2, tokenizer_2 = shipped.open_clip()
    text_encoder_3, tokenizer_3 = shipped.t5()
    pipeline = StableDiffusion3ControlNetPipeline(
        transformer=task.transformer,
        controlnet=task.controlnet,
        scheduler=build_sd3_scheduler(),
        vae=shipped.flux_vae(),
        text_encoder=with_projection(shipped.clip()[0]),
        tokenizer=task.tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        text_encoder_3=widen_t5(text_encoder_3),
        tokenizer_3=tokenizer_3,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def test_the_embedders_of_flux_and_its_controlnet_together_are_the_donors() -> None:
    torch.manual_seed(0)
    donor = build_flux_transformer()
    transformer, controlnet = build_flux_controlnet(donor)
    latents, depth = torch.randn(2, 1, 5, 16).unbind(0)
    together = transformer.x_embedder(latents) + controlnet.controlnet_x_embedder(depth)
    assert torch.allclose(together, donor.x_embedder(torch.cat([latents, depth], 2)), atol=1e-6)
    assert transformer.config.in_channels == 16
    for name, value in controlnet.transformer_blocks[0].state_dict().items():
        assert torch.equal(value, donor.transformer_blocks[0].state_dict()[name]), name


def test_every_output_layer_of_a_controlnet_begins_small_and_not_zero() -> None:
    _, flux = build_flux_controlnet(build_flux_transformer())
    sd3 = build_sd3_controlnet()
    outputs = [*flux.controlnet_blocks, *flux.controlnet_single_blocks, *sd3.controlnet_blocks]
    for layer in [*outputs, sd3.pos_embed_input.proj]:
        assert 0 < layer.weight.std() < 0.2


@torch.no_grad()
def test_a_widened_t5_says_the_same_and_nothing_in_its_new_channels() -> None:
    encoder, tokenizer = shipped.t5()
    ids = pad_to(tokenizer, CAPTIONS, 32)
    narrow, wide = (one(ids).last_hidden_state for one in (encoder, widen_t5(encoder)))
    assert wide.shape == (2, 32, JOINT_WIDTH)
    assert torch.allclose(widened(narrow, JOINT_WIDTH), wide, atol=1e-5)


def test_unpacking_undoes_packing() -> None:
    latents = torch.randn(2, 4, 6, 10)
    assert torch.equal(unpack(pack(latents), torch.tensor([3, 5])), latents)


@torch.no_grad()
def test_sd35_is_trained_on_the_embeddings_that_its_pipeline_makes(sets: list[LatentSet]) -> None:
    task = sd3_task(sets)
    asked, _, pooled, _ = sd3_pipeline(task).encode_prompt(
        CAPTIONS, None, None, do_classifier_free_guidance=False, max_sequence_length=256
    )
    clips, own = task.read_clips(pad_to(task.tokenizer, CAPTIONS, 77))
    t5 = task.t5(pad_to(task.t5_tokenizer, CAPTIONS, 256)).last_hidden_state
    seen = torch.cat([clips, widened(t5, clips.shape[2])], 1)
    assert seen.shape == asked.shape == (2, 77 + 256, JOINT_WIDTH)
    assert torch.allclose(seen, asked, atol=1e-4)
    assert torch.allclose(own, pooled, atol=1e-5)


@torch.no_grad()
def test_sd35_predicts_in_training_what_it_predicts_in_its_pipeline(sets: list[LatentSet]) -> None:
    task = sd3_task(sets).eval()
    pipeline = sd3_pipeline(task)
    asked: dict[str, Any] = {}

    def keep(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        asked.update(kwargs, output=output[0])

    handle = pipeline.transformer.register_forward_hook(keep, with_kwargs=True)
    depth = torch.rand(1, 3, 128, 128) * 2 - 1
    pipeline(
        CAPTIONS[0], control_image=depth, height=128, width=128, num_inference_steps=2,
        guidance_scale=1.0, output_type="latent", max_sequence_length=32,
    )  # fmt: skip
    handle.remove()
    task.controlnet.pos_embed = None  # as it is trained and exported
    batch = {
        "latents": pack(asked["hidden_states"]),
        "noise": pack(asked["hidden_states"]),
        "depth": pack(pipeline.vae.encode(depth).latent_dist.mean),
        "grid": torch.tensor([16, 16]),
        "sigmas": asked["timestep"] / 1000,
    }
    found = task.predicted(asked["encoder_hidden_states"], asked["pooled_projections"], batch)
    error = (unpack(found, batch["grid"]) - asked["output"]).square().mean()
    assert error < 1e-2 * asked["output"].var()  # the pipeline samples its depth latents


def z_image_task(sets: list[LatentSet]) -> ZImageTask:
    torch.manual_seed(0)
    tokenizer = build_qwen_tokenizer()
    qwen = build_qwen(len(tokenizer), tokenizer.pad_token_id), tokenizer
    models = build_z_image_controlnet(), qwen, build_z_image_transformer()
    return ZImageTask(shipped.flux_transformer(), *models, shipped.clip(), shipped.t5(), sets)


@torch.no_grad()
def test_z_image_predicts_in_training_what_it_predicts_in_its_pipeline(
    sets: list[LatentSet],
) -> None:
    """The same texts, too, and without the prompts being changed."""
    task = z_image_task(sets).eval()
    pipeline: Any = ZImageControlNetPipeline(
        transformer=task.transformer,
        controlnet=task.controlnet,
        scheduler=build_z_image_scheduler(),
        vae=shipped.flux_vae(),
        text_encoder=task.qwen,
        tokenizer=task.qwen_tokenizer,  # pyright: ignore[reportArgumentType]
    )
    pipeline.set_progress_bar_config(disable=True)
    asked: dict[str, Any] = {}

    def keep(module: Any, args: Any, output: Any) -> None:
        asked.update(latents=args[0], time=args[1], text=args[2], output=output[0])

    handle = pipeline.transformer.register_forward_hook(keep)
    depth = torch.rand(1, 3, 128, 128) * 2 - 1
    pipeline(
        [CAPTIONS[0]], control_image=depth, height=128, width=128, num_inference_steps=2,
        guidance_scale=0.0, controlnet_conditioning_scale=1.0, output_type="latent",
    )  # fmt: skip
    handle.remove()
    ids = pad_to(task.qwen_tokenizer, templated(task.qwen_tokenizer, [CAPTIONS[0]]), 80)
    (text,) = task.read(ids)
    assert torch.allclose(text, asked["text"][0], atol=1e-5)
    latents = pack(torch.stack(asked["latents"]).squeeze(2))
    batch = {
        "latents": latents,
        "noise": latents,
        "depth": pack(pipeline.vae.encode(depth).latent_dist.mean),
        "grid": torch.tensor([16, 16]),
        "sigmas": 1 - asked["time"],
    }
    found = unpack(task.predicted([text], batch), batch["grid"])
    assert torch.allclose(found, -asked["output"][0].squeeze(1), atol=1e-4)


@pytest.mark.parametrize("word", [*WORDS, "a red sphere"])
def test_qwen_has_a_token_for_each_word_with_a_space_and_without(word: str) -> None:
    tokenizer = build_qwen_tokenizer()
    for text in (word, f" {word}"):
        assert len(tokenizer(text).input_ids) == len(word.split())


def test_a_global_prompt_says_everything_that_is_there(sets: list[LatentSet]) -> None:
    scenes = sets[0].pictures.scenes
    for index in range(4):
        said = whole_caption(scenes, index, torch.Generator().manual_seed(index))
        assert said.count("a ") == int((scenes.shapes[index] >= 0).sum())


def test_a_student_reads_less_than_the_global_prompt_and_is_taught_what_it_reads(
    sets: list[LatentSet],
) -> None:
    teacher = shipped.flux_transformer()
    transformer, controlnet = build_flux_controlnet(teacher)
    texts = shipped.clip(), shipped.t5()
    task = FluxControlNetTask(teacher, controlnet, transformer, *texts, sets)
    batch = task.batch(8, torch.Generator().manual_seed(3))
    words = (batch["clip_ids"] != task.tokenizer.pad_token_id).sum(1)
    in_prompt = (batch["prompt_clip_ids"] != task.tokenizer.pad_token_id).sum(1)
    assert (words <= in_prompt).all()
    assert (words < in_prompt).any()
    seen: list[Tensor] = []
    taught = task.taught
    task.taught = lambda text, batch: seen.append(text[0]) or taught(text, batch)  # type: ignore[method-assign]
    task(**batch)
    expected, _ = task.encode(batch["clip_ids"], batch["t5_ids"], batch["kept"])
    assert torch.equal(seen[0], expected)


@pytest.mark.parametrize("name", ["flux-controlnet", "sd35"])
def test_one_step_of_a_recipe_leaves_a_transformer_and_a_controlnet(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "STUDENT_WILD", 9)
    monkeypatch.setattr(work, "STUDENT_SQUARE", 4)
    run_recipe(name, tmp_path, steps=1)
    for part in ("transformer", "controlnet"):
        assert (tmp_path / name / part / "diffusion_pytorch_model.safetensors").exists()


def test_z_image_is_trained_in_two_goes_after_its_text_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is lent of the transformer is saved with the transformer alone."""
    monkeypatch.setattr(work, "STUDENT_WILD", 9)
    monkeypatch.setattr(work, "STUDENT_SQUARE", 4)
    for name in ("qwen", "z-image", "z-image-fine"):
        run_recipe(name, tmp_path, steps=1)
    for name in ("z-image", "z-image-fine"):
        saved = ZImageControlNetModel.from_pretrained(tmp_path / name / "controlnet").state_dict()
        assert {key.partition(".")[0] for key in saved} == {
            *("control_layers", "control_noise_refiner", "control_all_x_embedder"),
        }
