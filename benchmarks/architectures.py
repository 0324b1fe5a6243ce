"""The published architectures at full size, on the meta device: parameters without their memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    ControlNetModel,
    FluxTransformer2DModel,
    QwenImageControlNetModel,
    QwenImageTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    ZImageControlNetModel,
    ZImageTransformer2DModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

UNET: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
}
UNETS: dict[str, dict[str, Any]] = {
    "sd15": {**UNET, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd21": {
        **UNET,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
        "upcast_attention": True,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
CLIP_L: dict[str, Any] = {"vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072}
CLIP_L |= {"num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768}
OPEN_CLIP_H = {"vocab_size": 49408, "hidden_size": 1024, "intermediate_size": 4096}
OPEN_CLIP_H |= {"num_hidden_layers": 23, "num_attention_heads": 16, "projection_dim": 512}
OPEN_CLIP_G: dict[str, Any] = {"vocab_size": 49408, "hidden_size": 1280}
OPEN_CLIP_G |= {"intermediate_size": 5120, "num_hidden_layers": 32}
OPEN_CLIP_G |= {"num_attention_heads": 20, "projection_dim": 1280}
T5_XXL: dict[str, Any] = {"vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240}
T5_XXL |= {"num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"}
FLUX_DEPTH: dict[str, Any] = {
    "in_channels": 128,
    "out_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
}
FLUX_CONTROLNETS: dict[str, dict[str, Any]] = {
    "flux-depth": {"num_layers": 4, "num_single_layers": 1},
    "flux-union": {"num_layers": 5, "num_single_layers": 10, "num_mode": 10},
    "flux-union-2": {"num_layers": 6, "num_single_layers": 0},
}
"""Blocks and modes of the published ControlNets; all else is as in FLUX.1-dev's transformer."""
SD35_LARGE: dict[str, Any] = {
    "sample_size": 128,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 38,
    "attention_head_dim": 64,
    "num_attention_heads": 38,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 2432,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
    "qk_norm": "rms_norm",
}
SD35_MEDIUM: dict[str, Any] = {
    **SD35_LARGE,
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 384,
    "dual_attention_layers": tuple(range(13)),
}
SD35_LARGE_CONTROLNET: dict[str, Any] = {
    **SD35_LARGE,
    "num_layers": 19,
    "joint_attention_dim": None,
    "caption_projection_dim": 2048,  # of no layer
    "qk_norm": None,
    "pos_embed_max_size": None,
    "pos_embed_type": None,
    "use_pos_embed": False,
    "force_zeros_for_pooled_projection": False,
}
SD35_MEDIUM_CONTROLNET: dict[str, Any] = {
    **SD35_MEDIUM,
    "num_layers": 12,
    "dual_attention_layers": (),
}
"""Half of the transformer's blocks, and text: what that one's depth ControlNet is said to be."""
Z_IMAGE: dict[str, Any] = {
    "in_channels": 16,
    "dim": 3840,
    "n_layers": 30,
    "n_refiner_layers": 2,
    "n_heads": 30,
    "n_kv_heads": 30,
    "cap_feat_dim": 2560,
}
Z_IMAGE_CONTROLNETS: dict[str, dict[str, Any]] = {
    "z-image-1": {
        "control_in_dim": 16,
        "control_layers_places": [*range(0, 30, 5)],
        "add_control_noise_refiner": None,
    },
    "z-image": {
        "control_in_dim": 33,
        "control_layers_places": [*range(0, 30, 2)],
        "add_control_noise_refiner": "control_noise_refiner",
    },
    "z-image-lite": {
        "control_in_dim": 33,
        "control_layers_places": [*range(0, 30, 10)],
        "add_control_noise_refiner": "control_noise_refiner",
    },
}
"""Fun-Controlnet-Union: version 1, 2.1, and the lite one of 2.1."""
QWEN3_4B: dict[str, Any] = {"vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728}
QWEN3_4B |= {"num_hidden_layers": 36, "num_attention_heads": 32}
QWEN3_4B |= {"num_key_value_heads": 8, "head_dim": 128}
QWEN_IMAGE: dict[str, Any] = {
    "in_channels": 64,
    "out_channels": 16,
    "num_layers": 60,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 3584,
}
QWEN_IMAGE_CONTROLNET = {**QWEN_IMAGE, "num_layers": 5}
QWEN_VAE: dict[str, Any] = {"base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4]}
QWEN_VL_7B: dict[str, Any] = {"vocab_size": 152064, "hidden_size": 3584}
QWEN_VL_7B |= {"intermediate_size": 18944, "num_hidden_layers": 28}
QWEN_VL_7B |= {"num_attention_heads": 28, "num_key_value_heads": 4}
QWEN_VL_7B_EYE: dict[str, Any] = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420}
QWEN_VL_7B_EYE |= {"num_heads": 16, "out_hidden_size": 3584}
FLUX_VAE = {**VAE, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}


def full_size_parts(family: str) -> dict[str, nn.Module]:
    """The parts of a base model that have weights, by the names a pipeline gives them."""
    with torch.device("meta"):
        return {name: build() for name, build in BUILDERS[family]().items()}


def _unet_family(family: str, text: Mapping[str, Any]) -> dict[str, Callable[[], nn.Module]]:
    unet = UNet2DConditionModel(**UNETS[family])
    return {
        "unet": lambda: unet,
        "controlnet": lambda: ControlNetModel.from_unet(unet, load_weights_from_unet=False),
        "vae": lambda: AutoencoderKL(**VAE),
        "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(**text)),
    }


def _sdxl() -> dict[str, Callable[[], nn.Module]]:
    second = CLIPTextConfig(**OPEN_CLIP_G)
    return _unet_family("sdxl", CLIP_L) | {
        "text_encoder_2": lambda: CLIPTextModelWithProjection(second)
    }


def _flux() -> dict[str, Callable[[], nn.Module]]:
    return {
        "transformer": lambda: FluxTransformer2DModel(**FLUX_DEPTH),
        "vae": lambda: AutoencoderKL(**FLUX_VAE),
        "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(**CLIP_L)),
        "text_encoder_2": lambda: T5EncoderModel(T5Config(**T5_XXL)),
    }


def _sd35(
    transformer: dict[str, Any], controlnet: dict[str, Any]
) -> dict[str, Callable[[], nn.Module]]:
    first, second = CLIPTextConfig(**CLIP_L), CLIPTextConfig(**OPEN_CLIP_G)
    return {
        "transformer": lambda: SD3Transformer2DModel(**transformer),
        "controlnet": lambda: SD3ControlNetModel(**controlnet),
        "vae": lambda: AutoencoderKL(**FLUX_VAE),
        "text_encoder": lambda: CLIPTextModelWithProjection(first),
        "text_encoder_2": lambda: CLIPTextModelWithProjection(second),
        "text_encoder_3": lambda: T5EncoderModel(T5Config(**T5_XXL)),
    }


def _z_image(controlnet: str) -> dict[str, Callable[[], nn.Module]]:
    """The ControlNet alone: what the transformer lends it is counted there."""
    own = {**Z_IMAGE_CONTROLNETS[controlnet], "control_refiner_layers_places": [0, 1]}
    shared = {key: Z_IMAGE[key] for key in ("dim", "n_heads", "n_kv_heads", "n_refiner_layers")}
    return {
        "transformer": lambda: ZImageTransformer2DModel(**Z_IMAGE),
        "controlnet": lambda: ZImageControlNetModel(**own, **shared),
        "vae": lambda: AutoencoderKL(**FLUX_VAE),
        "text_encoder": lambda: Qwen3Model(Qwen3Config(**QWEN3_4B)),
    }


def _qwen_image() -> dict[str, Callable[[], nn.Module]]:
    read = Qwen2_5_VLConfig(text_config=QWEN_VL_7B, vision_config=QWEN_VL_7B_EYE)
    return {
        "transformer": lambda: QwenImageTransformer2DModel(**QWEN_IMAGE),
        "controlnet": lambda: QwenImageControlNetModel(**QWEN_IMAGE_CONTROLNET),
        "vae": lambda: AutoencoderKLQwenImage(**QWEN_VAE),
        "text_encoder": lambda: Qwen2_5_VLForConditionalGeneration(read),
    }


BUILDERS: dict[str, Callable[[], dict[str, Callable[[], nn.Module]]]] = {
    "sd15": lambda: _unet_family("sd15", CLIP_L),
    "sd21": lambda: _unet_family("sd21", OPEN_CLIP_H),
    "sdxl": _sdxl,
    "flux": _flux,
    "sd35": lambda: _sd35(SD35_LARGE, SD35_LARGE_CONTROLNET),
    "sd35-medium": lambda: _sd35(SD35_MEDIUM, SD35_MEDIUM_CONTROLNET),
    **{name: partial(_z_image, name) for name in Z_IMAGE_CONTROLNETS},
    "qwen-image": _qwen_image,
}
