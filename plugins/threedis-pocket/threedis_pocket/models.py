"""The architectures of the pocket models: the real diffusers and transformers classes, small."""

from __future__ import annotations

from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_CHANNELS = 8
TEXT_WIDTH = 128


def build_vae() -> AutoencoderKL:
    """A KL autoencoder, factor 8, eight latent channels."""
    channels = (16, 16, 32, 48)
    vae = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,  # groups of two or three channels would erase absolute colour
        sample_size=128,
        scaling_factor=1.0,
        force_upcast=False,
    )
    # Start with little noise on the latents: at deviation 1 the colours drown for a long time.
    nn.init.constant_(vae.quant_conv.bias[LATENT_CHANNELS:], -4.0)
    return vae


def build_text_encoder(vocab_size: int, bos: int, eos: int) -> CLIPTextModel:
    """CLIP's text model: causal, 77 positions, two layers."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=3 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            projection_dim=TEXT_WIDTH,
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=eos,
        )
    )


def build_unet() -> UNet2DConditionModel:
    """SD1.5's U-Net in small: cross-attention at 16x16, 8x8 and in the middle."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(48, 56),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(2, 4),  # heads of 16x16 and of 8x8, as SD1.5's config (mis)names them
    )


def build_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """The depth ControlNet that fits ``unet``.

    Its output layers start small instead of zero: both are trained from scratch together, so
    there is no base model to protect, and the U-Net sees the depth from the first step.
    """
    controlnet = ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=(8, 12, 24, 48), load_weights_from_unet=False
    )
    outputs = [
        *controlnet.controlnet_down_blocks,
        controlnet.controlnet_mid_block,
        controlnet.controlnet_cond_embedding.conv_out,
    ]
    for layer in outputs:
        nn.init.xavier_uniform_(layer.weight, gain=0.5)
    return controlnet
