"""The architecture of the pocket Qwen-Image: diffusers' and transformers' own classes, small."""

from __future__ import annotations

from functools import cache
from typing import Any

from diffusers import (
    AutoencoderKLQwenImage,
    QwenImageControlNetModel,
    QwenImageControlNetPipeline,
    QwenImageTransformer2DModel,
)
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from threedis_pocket.flux_models import LATENT_CHANNELS, PACKED_CHANNELS

QWEN_VL_WIDTH = 96
TEMPLATE_WORDS = (
    *("system", "user", "assistant", "Describe", "image", "by", "detailing", "color", "shape"),
    *("size", "texture", "quantity", "spatial", "relationships", "objects", "background"),
)
"""The template's words, whole as in Qwen's own tokenizer, so that as many tokens are cut off."""
_SIZES = {
    "in_channels": PACKED_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "attention_head_dim": 24,
    "num_attention_heads": 4,
    "joint_attention_dim": QWEN_VL_WIDTH,
    "axes_dims_rope": (8, 8, 8),
}


def build_qwen_image_transformer() -> QwenImageTransformer2DModel:
    """Qwen-Image's transformer: four blocks, each with weights of its own for image and text."""
    return QwenImageTransformer2DModel(**_SIZES, num_layers=4)


def build_qwen_image_controlnet() -> QwenImageControlNetModel:
    """ControlNet-Union: two blocks, each for two of the transformer's.

    Its output layers and the depth's embedder start small instead of zero, as those of
    :func:`threedis_pocket.models.build_controlnet`, and for the same reason.
    """
    controlnet = QwenImageControlNetModel(**_SIZES, num_layers=2)
    for layer in [*controlnet.controlnet_blocks, controlnet.controlnet_x_embedder]:
        nn.init.xavier_uniform_(layer.weight, gain=0.5)  # pyright: ignore[reportArgumentType]
        nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    return controlnet


def build_qwen_image_vae() -> AutoencoderKLQwenImage:
    """Qwen-Image's autoencoder, a video's, of which a picture is one frame; factor 4.

    Its latents are those of pocket-flux's autoencoder, of mean 0 and deviation 1.
    """
    return AutoencoderKLQwenImage(
        base_dim=16,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 1, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
    )


def build_qwen_vl(vocab_size: int, pad: int) -> Qwen2_5_VLForConditionalGeneration:
    """Qwen2.5-VL in small: two layers of text, and the least of an eye, which is never opened."""
    text = {
        "vocab_size": vocab_size,
        "hidden_size": QWEN_VL_WIDTH,
        "intermediate_size": 2 * QWEN_VL_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [4, 4, 4],
        },
        "tie_word_embeddings": True,
        "use_cache": False,
        "bos_token_id": pad,
        "eos_token_id": pad,
        "pad_token_id": pad,
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": QWEN_VL_WIDTH,
        "fullatt_block_indexes": [0],
    }
    ids = {"image_token_id": pad, "video_token_id": pad}
    ids |= {"vision_start_token_id": pad, "vision_end_token_id": pad}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    )


@cache
def prompt_template() -> tuple[str, int]:
    """What the pipelines put around a prompt, and how many tokens of it they cut off in front."""
    nothing: Any = None
    parts = ("scheduler", "vae", "text_encoder", "tokenizer", "transformer", "controlnet")
    pipeline = QwenImageControlNetPipeline(**dict.fromkeys(parts, nothing))
    return pipeline.prompt_template_encode, pipeline.prompt_template_encode_start_idx
