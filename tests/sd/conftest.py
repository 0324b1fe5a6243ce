"""Tiny real pipelines on disk: SD1.5's from the golden numbers, the others with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    ControlNetUnionModel,
    EulerDiscreteScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.testing.samples import sample_depth
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions

torch.set_num_threads(1)

GOLDEN = Path(__file__).parents[1] / "golden"
PARTS = GOLDEN / "sd15_pipe"
TINY_UNET: dict[str, Any] = {
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "use_linear_projection": True,
}
UNION_DEPTH = 1
"""Depth among the control types of a union ControlNet."""


@pytest.fixture(scope="session")
def golden_unet() -> UNet2DConditionModel:
    """The U-Net of the ``unet_forward`` cases, float32."""
    unet = UNet2DConditionModel(**json.loads((GOLDEN / "unet.json").read_text("utf-8"))).eval()
    weights = load_file(GOLDEN / "unet.safetensors")
    unet.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return unet


def tiny_sd15() -> StableDiffusionControlNetPipeline:
    """The golden parts."""
    return StableDiffusionControlNetPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel.from_pretrained(PARTS / "text_encoder", dtype=torch.float32),
        tokenizer=tiny_tokenizer(),
        unet=UNet2DConditionModel.from_pretrained(PARTS / "unet", dtype=torch.float32),
        controlnet=ControlNetModel.from_pretrained(PARTS / "controlnet", dtype=torch.float32),
        scheduler=EulerDiscreteScheduler.from_pretrained(PARTS / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def tiny_sd21() -> StableDiffusionControlNetPipeline:
    """SD2.1 in small: v-prediction, linear projections, another head count in each block."""
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 48),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=20,
        attention_head_dim=(2, 6),
        **TINY_UNET,
    )
    return StableDiffusionControlNetPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(text_config(20, hidden_act="gelu")),
        tokenizer=tiny_tokenizer(),
        unet=unet,
        controlnet=awake(ControlNetModel.from_unet(unet, **hint_channels())),
        scheduler=scheduler(prediction_type="v_prediction"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def tiny_sdxl() -> StableDiffusionXLControlNetPipeline:
    """SDXL in small: two text encoders, added conditions, transformers of one and two blocks."""
    parts = sdxl_parts()
    controlnet = awake(ControlNetModel.from_unet(parts["unet"], **hint_channels()))
    return StableDiffusionXLControlNetPipeline(controlnet=controlnet, **parts)


def tiny_sdxl_union() -> StableDiffusionXLControlNetUnionPipeline:
    """The same SDXL with a union ControlNet."""
    parts = sdxl_parts()
    drafted = dict(ControlNetUnionModel.from_unet(parts["unet"], **hint_channels()).config)
    del drafted["_use_default_values"]  # they would win over what is given
    width = {"num_trans_channel": 32, "num_proj_channel": 32, "num_trans_head": 4}
    controlnet = awake(ControlNetUnionModel.from_config({**drafted, **width}))
    return StableDiffusionXLControlNetUnionPipeline(controlnet=controlnet, **parts)


def sdxl_parts() -> dict[str, Any]:
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32, 48),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(2, 2, 4),
        cross_attention_dim=24 + 32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 28,
        **TINY_UNET,
    )
    second = text_config(32, hidden_act="gelu", projection_dim=28)
    return {
        "vae": tiny_vae(),
        "text_encoder": CLIPTextModel(text_config(24)),
        "text_encoder_2": CLIPTextModelWithProjection(second),
        "tokenizer": tiny_tokenizer(),
        "tokenizer_2": tiny_tokenizer(),
        "unet": unet,
        # Of two steps the second one has something to do, too.
        "scheduler": scheduler(timestep_spacing="trailing"),
    }


def tiny_vae() -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(PARTS / "vae", dtype=torch.float32)


def tiny_tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(PARTS / "tokenizer")


def text_config(width: int, **changes: Any) -> CLIPTextConfig:
    facts = json.loads((PARTS / "text_encoder" / "config.json").read_text("utf-8"))
    return CLIPTextConfig(**{**facts, "hidden_size": width, **changes})


def scheduler(**changes: Any) -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1, **changes)


def hint_channels() -> dict[str, Any]:
    return {"conditioning_embedding_out_channels": (8, 8, 8, 8)}


def awake(controlnet: Any) -> Any:
    """Give weight to the zero layers, through which nothing would be seen."""
    for layer in controlnet.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.2)
    return controlnet.eval()


TINY = {
    "sd15": tiny_sd15,
    "sd21": tiny_sd21,
    "sdxl": tiny_sdxl,
    "sdxl-union": tiny_sdxl_union,
}


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny pipeline, ControlNet inside, made when first asked for."""
    folders: dict[str, Path] = {}

    def find(family: str) -> Path:
        if family not in folders:
            torch.manual_seed(0)
            folders[family] = tmp_path_factory.mktemp("model") / f"tiny-{family}"
            TINY[family]().save_pretrained(folders[family])
        return folders[family]

    return find


@pytest.fixture(scope="session")
def pipeline_folder(family_folder: Callable[[str], Path]) -> Path:
    """The golden parts as one pipeline folder, ControlNet inside."""
    return family_folder("sd15")


@pytest.fixture(scope="session")
def family_stock_picture(
    family_folder: Callable[[str], Path],
) -> Callable[..., Image.Image]:
    """The stock pipeline's picture of a request, without anything of ours, by family."""
    pipelines: dict[str, Any] = {}

    def render(family: str, request: RenderRequest, **arguments: Any) -> Image.Image:
        if family not in pipelines:
            folder = family_folder(family)
            kind = json.loads((folder / "model_index.json").read_text("utf-8"))["_class_name"]
            pipelines[family] = getattr(diffusers, kind).from_pretrained(folder)
            pipelines[family].set_progress_bar_config(disable=True)
        depth = request.depth.to_image()
        union = {"control_image": depth, "control_mode": UNION_DEPTH}
        return pipelines[family](
            request.layout.prompt,
            negative_prompt=request.layout.negative_prompt or None,
            generator=torch.Generator().manual_seed(request.seed),
            **(union if family == "sdxl-union" else {"image": depth}),
            **arguments,
        ).images[0]

    return render


@pytest.fixture(scope="session")
def stock_picture(family_stock_picture: Callable[..., Image.Image]) -> Callable[..., Image.Image]:
    """The stock SD1.5 pipeline's picture of a request."""
    return lambda request, **arguments: family_stock_picture("sd15", request, **arguments)


@pytest.fixture(scope="session")
def make_request() -> Callable[..., RenderRequest]:
    """A request from (prompt, box) pairs."""

    def make(
        *instances: tuple[str, tuple[float, float, float, float]],
        prompt: str = "animals in a field",
        negative_prompt: str = "blurry",
        size: tuple[int, int] = (128, 128),
        seed: int = 0,
        **changes: Any,
    ) -> RenderRequest:
        width, height = size
        layout = Layout.from_dict(
            {
                "version": 1,
                "prompt": prompt,
                "negative_prompt": negative_prompt,
                "instances": [{"prompt": text, "box": list(box)} for text, box in instances],
            }
        )
        depth: DepthMap = sample_depth(layout, width, height)
        regions = Regions.from_layout(layout, width, height)
        return RenderRequest(layout, depth, regions, seed, width, height, **changes)

    return make
