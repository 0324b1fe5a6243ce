"""The pocket's base models have what makes each family: text towers, blocks, token grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from threedis_core.errors import OptionError
from threedis_pocket.commands import Exported, RecipeName
from threedis_pocket.flux_controlnet_models import build_flux_controlnet
from threedis_pocket.flux_models import build_flux_transformer, build_flux_vae
from threedis_pocket.models import (
    build_controlnet,
    build_open_text_encoder,
    build_sd21_unet,
    build_sdxl_unet,
    build_t5,
    build_text_encoder,
    build_unet,
    build_vae,
    penultimate,
    start_from,
)
from threedis_pocket.qwen_image_models import (
    TEMPLATE_WORDS,
    build_qwen_image_controlnet,
    build_qwen_image_transformer,
    build_qwen_image_vae,
    build_qwen_vl,
    prompt_template,
)
from threedis_pocket.qwen_tokenizer import build_qwen_tokenizer
from threedis_pocket.sd3_models import build_sd3_controlnet, build_sd3_transformer
from threedis_pocket.t5_tokenizer import build_t5_tokenizer
from threedis_pocket.tokenizer import WORDS, build_tokenizer
from threedis_pocket.training.data import Pictures, pictures
from threedis_pocket.training.diffusion import (
    DiffusionTask,
    SDXLTask,
    encode_depth,
    encode_latents,
)
from threedis_pocket.training.export import EXPORTS, export
from threedis_pocket.training.flow import FlowTask, GuidedTask
from threedis_pocket.training.qwen_image import QwenImageTask, QwenVaeTask
from threedis_pocket.training.recipes import RECIPES, run_recipe
from threedis_pocket.training.sets import LatentSet
from threedis_pocket.training.students import FluxControlNetTask, SD3Task
from threedis_pocket.training.text import OpenClipTask, QwenTask, QwenVLTask, T5Task
from threedis_pocket.training.z_image import ZImageTask
from threedis_pocket.z_image_models import (
    build_qwen,
    build_z_image_controlnet,
    build_z_image_transformer,
)
from threedis_train.engine import Task

TOKENIZER = build_tokenizer()
T5_TOKENIZER = build_t5_tokenizer()
QWEN_TOKENIZER = build_qwen_tokenizer()


def clip() -> CLIPTextModel:
    return build_text_encoder(len(TOKENIZER), TOKENIZER.bos_token_id, TOKENIZER.eos_token_id)


def open_clip() -> CLIPTextModelWithProjection:
    torch.manual_seed(5)
    return build_open_text_encoder(
        len(TOKENIZER), TOKENIZER.bos_token_id, TOKENIZER.eos_token_id
    ).eval()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return pictures(tmp_path_factory.mktemp("data"), "validation", 4)


def test_sd21_reads_the_penultimate_layer_through_the_final_norm() -> None:
    encoder = open_clip()
    ids = torch.tensor([TOKENIZER("a red sphere and a blue cube").input_ids])
    whole = encoder(ids, output_hidden_states=True)
    expected = encoder.text_model.final_layer_norm(whole.hidden_states[-2])
    shorter = penultimate(encoder)
    assert shorter.config.num_hidden_layers == encoder.config.num_hidden_layers - 1
    assert torch.equal(shorter(ids).last_hidden_state, expected)
    assert not torch.allclose(expected, whole.last_hidden_state)


def test_a_model_starts_from_another_where_the_weights_fit() -> None:
    torch.manual_seed(0)
    donor, model = build_unet().eval(), build_sd21_unet().eval()
    start_from(model, donor)
    given, taken = donor.state_dict(), model.state_dict()
    convolution = given["down_blocks.0.attentions.0.proj_in.weight"]
    linear = taken["down_blocks.0.attentions.0.proj_in.weight"]
    assert convolution.ndim == 4
    assert torch.equal(convolution[:, :, 0, 0], linear)
    assert torch.equal(given["conv_in.weight"], taken["conv_in.weight"])
    keys = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    assert given[keys].shape != taken[keys].shape


def test_layers_the_donor_lacks_begin_as_the_identity() -> None:
    torch.manual_seed(0)
    model = build_sdxl_unet()
    start_from(model, build_unet())
    added = model.down_blocks[1].attentions[0].transformer_blocks[1].eval()
    tokens, text = torch.randn(1, 64, 56), torch.randn(1, 77, model.config.cross_attention_dim)
    assert torch.equal(added(tokens, encoder_hidden_states=text), tokens)


def test_sdxl_has_pooled_text_time_ids_and_two_transformer_layers() -> None:
    config = build_sdxl_unet().config
    assert config.addition_embed_type == "text_time"
    assert config.transformer_layers_per_block == (1, 2)
    assert build_sdxl_unet().add_embedding.linear_1.in_features == 96 + 6 * 16


def test_flux_has_256_image_tokens_at_128_pixels() -> None:
    vae, transformer = build_flux_vae(), build_flux_transformer()
    latents = vae.encode(torch.zeros(1, 3, 128, 128)).latent_dist.mean
    assert latents.shape == (1, 4, 32, 32)  # packed 2x2: 16x16 tokens
    assert transformer.config.in_channels == 2 * 4 * 4  # latents and depth
    assert len(transformer.transformer_blocks) == 2
    assert len(transformer.single_transformer_blocks) == 4
    assert transformer.config.guidance_embeds


@pytest.mark.parametrize("word", [word for word in WORDS if word.isalpha()])
def test_t5_knows_every_word_of_the_world(word: str) -> None:
    assert T5_TOKENIZER.tokenize(f"a {word}")[1:] == ["\u2581" + word]


def test_t5_writes_any_text_and_survives_saving(tmp_path: Path) -> None:
    text = "a teapot, 14 % blue; caf\u00e9"
    ids = T5_TOKENIZER(text).input_ids
    assert ids[-1] == T5_TOKENIZER.eos_token_id
    T5_TOKENIZER.save_pretrained(tmp_path)
    assert type(T5_TOKENIZER).from_pretrained(tmp_path)(text).input_ids == ids


def test_the_pipelines_of_qwen_image_cut_off_what_stands_in_front_of_a_prompt() -> None:
    template, cut = prompt_template()
    ids = build_qwen_tokenizer(TEMPLATE_WORDS).tokenize(template.format("a red cube"))
    assert ids[cut : cut + 4] == ["a", "\u0120red", "\u0120cube", "<|im_end|>"]


def tasks(data: Pictures) -> dict[str, Task]:
    latents = encode_latents(build_vae().eval(), data)
    flux_vae = build_flux_vae().eval()
    flux_latents = encode_latents(flux_vae, data)
    depth = encode_depth(flux_vae, data)
    sd21, sdxl = build_sd21_unet(), build_sdxl_unet()
    short = penultimate(open_clip())
    two = (clip(), open_clip(), TOKENIZER)
    t5 = build_t5(len(T5_TOKENIZER), 0, 1)
    flux = ((clip(), TOKENIZER), (t5, T5_TOKENIZER), [LatentSet(data, flux_latents, depth)])
    teacher = build_flux_transformer()
    dev, flux_controlnet = build_flux_controlnet(teacher)
    qwen = build_qwen(len(QWEN_TOKENIZER), QWEN_TOKENIZER.pad_token_id)
    z_image = (build_z_image_controlnet(), (qwen, QWEN_TOKENIZER), build_z_image_transformer())
    qwen_vl = build_qwen_vl(len(QWEN_TOKENIZER), QWEN_TOKENIZER.pad_token_id)
    qwen_image = (
        build_qwen_image_controlnet(),
        (build_qwen_vl(len(QWEN_TOKENIZER), QWEN_TOKENIZER.pad_token_id), QWEN_TOKENIZER),
        build_qwen_image_transformer(),
    )
    sd35 = (build_sd3_controlnet(), open_clip(), build_sd3_transformer())
    sets = [LatentSet(data, latents)]
    return {
        "openclip": OpenClipTask(open_clip(), TOKENIZER),
        "t5": T5Task(t5, T5_TOKENIZER),
        "sd21": DiffusionTask(sd21, build_controlnet(sd21), short, TOKENIZER, sets),
        "sdxl": SDXLTask(sdxl, build_controlnet(sdxl), *two, sets),
        "flux": FlowTask(build_flux_transformer(), *flux),
        "flux-guided": GuidedTask(build_flux_transformer(), build_flux_transformer(), *flux),
        "flux-controlnet": FluxControlNetTask(teacher, flux_controlnet, dev, *flux),
        "sd35": SD3Task(build_flux_transformer(), *sd35, *flux),
        "qwen": QwenTask(build_qwen(len(QWEN_TOKENIZER), 0), QWEN_TOKENIZER),
        "z-image": ZImageTask(build_flux_transformer(), *z_image, *flux),
        "qwen-vl": QwenVLTask(qwen_vl, QWEN_TOKENIZER),
        "qwen-vae": QwenVaeTask(build_qwen_image_vae(), build_flux_vae(), [data]),
        "qwen-image": QwenImageTask(build_flux_transformer(), *qwen_image, *flux),
    }


# Z-Image reads all but the last layer of Qwen; Qwen2.5-VL has an eye; Qwen-Image's last block
# writes a text that nobody reads, and its autoencoder could see several frames.
REACHED = {"qwen": 0.6, "qwen-vl": 0.4, "qwen-vae": 0.85, "qwen-image": 0.85}


def test_every_task_has_gradients_for_what_it_trains_and_for_nothing_else(
    data: Pictures,
) -> None:
    for name, task in tasks(data).items():
        loss = task(**task.batch(2, torch.Generator().manual_seed(1)))
        loss.backward()
        assert torch.isfinite(loss), name
        for parameter, value in task.named_parameters():
            assert value.grad is None or value.requires_grad, (name, parameter)
        trained = [value for value in task.parameters() if value.requires_grad]
        reached = [value for value in trained if value.grad is not None]
        assert len(reached) >= REACHED.get(name, 0.95) * len(trained), name


def test_a_student_that_is_its_teacher_is_right_at_guidance_one(data: Pictures) -> None:
    task = tasks(data)["flux-guided"]
    task.transformer.load_state_dict(task.teacher.state_dict())
    batch = task.batch(2, torch.Generator().manual_seed(1))
    one = task.eval()(**{**batch, "guidance": torch.ones(2)})
    assert one < 1e-10
    assert task(**batch) > one


def test_depth_is_encoded_apart_from_the_picture(data: Pictures) -> None:
    vae = build_flux_vae().eval()
    latents, depth = (encode(vae, data) for encode in (encode_latents, encode_depth))
    assert latents.shape == depth.shape == (4, 4, 32, 32)
    assert not np.array_equal(latents, depth)


def test_the_commands_offer_what_there_is() -> None:
    assert [recipe.value for recipe in RecipeName] == list(RECIPES)
    assert [name.value for name in Exported] == list(EXPORTS)


@pytest.mark.parametrize("name", [recipe.value for recipe in RecipeName])
def test_a_recipe_comes_after_what_it_needs(name: str, tmp_path: Path) -> None:
    order = list(RECIPES)
    needed = [part.split("/")[0] for part in RECIPES[name].needs]
    assert all(order.index(one) < order.index(name) for one in needed)
    if needed:
        with pytest.raises(OptionError, match=f"train {needed[0]} "):
            run_recipe(name, tmp_path)


STUDENTS = {
    "flux-controlnet": lambda: build_flux_controlnet(build_flux_transformer()),
    "sd35": lambda: (build_sd3_transformer(), build_sd3_controlnet()),
    "z-image": lambda: (build_z_image_transformer(), build_z_image_controlnet()),
    "qwen-image": lambda: (build_qwen_image_transformer(), build_qwen_image_controlnet()),
}
SHARED_PARTS = {
    "flux": set(),
    "flux-controlnet": {"vae", "text_encoder", "text_encoder_2"},
    "sd35": {"vae", "text_encoder_2"},
    "sdxl": {"vae", "text_encoder"},
    "qwen-image": set(),
}
TRAINED_LAST = {name: f"{name}-fine" for name in ("sd35", "z-image", "qwen-image")}


def save_untrained(work: Path, name: str) -> None:
    builds = {"sd21": build_sd21_unet, "sdxl": build_sdxl_unet}
    build_vae().save_pretrained(work / "vae/model")
    build_flux_vae().save_pretrained(work / "flux-vae/model")
    build_qwen_image_vae().save_pretrained(work / "qwen-vae/model")
    for folder, encoder, tokenizer in (
        ("text", clip(), TOKENIZER),
        ("openclip", open_clip(), TOKENIZER),
        ("t5", build_t5(len(T5_TOKENIZER), 0, 1), T5_TOKENIZER),
        ("qwen", build_qwen(len(QWEN_TOKENIZER), 0), QWEN_TOKENIZER),
        ("qwen-vl", build_qwen_vl(len(QWEN_TOKENIZER), 0), QWEN_TOKENIZER),
    ):
        encoder.save_pretrained(work / folder / "text_encoder")
        tokenizer.save_pretrained(work / folder / "tokenizer")
    if name == "flux":
        build_flux_transformer().save_pretrained(work / "flux-wild-guided/model")
    elif name in STUDENTS:
        for part, model in zip(("transformer", "controlnet"), STUDENTS[name](), strict=True):
            model.save_pretrained(work / TRAINED_LAST.get(name, name) / part)
    else:
        unet = builds[name]()
        unet.save_pretrained(work / f"{name}-fine" / "unet")
        build_controlnet(unet).save_pretrained(work / f"{name}-fine" / "controlnet")


@pytest.mark.parametrize("name", ["sd21", "sdxl", "flux", *STUDENTS])
def test_an_exported_folder_is_float16_and_names_no_place_of_training(
    name: str, tmp_path: Path
) -> None:
    from safetensors import safe_open

    work, folder = tmp_path / "work", tmp_path / "out"
    save_untrained(work, name)
    export(name, work, folder, shared=name == "flux")
    bare = {one.parent.name for one in folder.glob("*/config.json")}
    bare -= {one.parent.name for one in folder.glob("*/*.safetensors")}
    assert bare == SHARED_PARTS.get(name, {"vae"})
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            kinds = {tensors.get_tensor(key).dtype for key in tensors.keys()}  # noqa: SIM118
        assert kinds <= {torch.float16, torch.int64}, file
    for file in folder.rglob("*.json"):
        assert str(tmp_path) not in file.read_text(), file
