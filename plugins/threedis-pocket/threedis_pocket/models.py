"""The architectures of the pocket models: the real diffusers and transformers classes, small."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

LATENT_CHANNELS = 8
DEPTH_LATENT_CHANNELS = 8
TEXT_WIDTH = 128
OPEN_TEXT_WIDTH = 96
T5_WIDTH = 96
TIME_ID_WIDTH = 16
_OUTPUTS = ("to_out.0.weight", "to_out.0.bias", "ff.net.2.weight", "ff.net.2.bias")


def build_vae() -> AutoencoderKL:
    """SD's KL autoencoder in small: factor 8, eight latent channels."""
    return build_autoencoder((16, 16, 32, 48), LATENT_CHANNELS)


def build_depth_vae() -> AutoencoderKL:
    """An autoencoder of depth maps alone: one channel, factor 4, eight latent channels."""
    return build_autoencoder((16, 24, 32), DEPTH_LATENT_CHANNELS, picture_channels=1)


def build_autoencoder(
    channels: tuple[int, ...], latent_channels: int, picture_channels: int = 3
) -> AutoencoderKL:
    """A KL autoencoder; every level of ``channels`` but the first halves the size."""
    vae = AutoencoderKL(
        in_channels=picture_channels,
        out_channels=picture_channels,
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=1,  # groups of two or three channels would erase absolute colour
        sample_size=128,
        scaling_factor=1.0,
        force_upcast=False,
    )
    # Start with little noise on the latents: at deviation 1 the colours drown for a long time.
    nn.init.constant_(vae.quant_conv.bias[latent_channels:], -4.0)
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


def build_open_text_encoder(vocab_size: int, bos: int, eos: int) -> CLIPTextModelWithProjection:
    """OpenCLIP's text model in small: GELU, three layers, a projection of the pooled text.

    SDXL takes it whole; SD2.1 takes it without its last layer (see :func:`penultimate`).
    """
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=OPEN_TEXT_WIDTH,
            intermediate_size=3 * OPEN_TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="gelu",
            projection_dim=OPEN_TEXT_WIDTH,
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=eos,
        )
    )


def penultimate(encoder: CLIPTextModelWithProjection) -> CLIPTextModel:
    """The encoder without its last layer and projection, as SD2.1's checkpoint stores OpenCLIP.

    Its last hidden states are the final norm of the whole encoder's penultimate layer.
    """
    config = CLIPTextConfig(**encoder.config.to_dict())
    config.num_hidden_layers -= 1
    shorter = CLIPTextModel(config)
    kept = shorter.state_dict().keys()
    whole = encoder.text_model.state_dict()
    state = {name: value for name, value in whole.items() if name in kept}
    shorter.load_state_dict(state)
    return shorter.eval()


def build_t5(vocab_size: int, pad: int, eos: int) -> T5EncoderModel:
    """T5's encoder in small: two layers, gated GELU, relative positions.

    Its heads start by looking near, each one less so: with attention spread over all the padding
    it would take very long to find that a colour belongs to the word beside it.
    """
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=vocab_size,
            d_model=T5_WIDTH,
            d_kv=24,
            d_ff=2 * T5_WIDTH,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            is_encoder_decoder=False,
            use_cache=False,
            pad_token_id=pad,
            eos_token_id=eos,
        )
    )
    bias = encoder.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight  # pyright: ignore[reportIndexIssue]
    buckets, heads = bias.shape  # the first half of the buckets looks back, the second ahead
    distance = torch.arange(buckets) % (buckets // 2)
    with torch.no_grad():
        bias.copy_(-distance[:, None] * torch.tensor([2.0, 1.0, 0.5, 0.0])[:heads])
    return encoder


def build_unet() -> UNet2DConditionModel:
    """SD1.5's U-Net in small: cross-attention at 16x16, 8x8 and in the middle."""
    return _build_unet(cross_attention_dim=TEXT_WIDTH)


def build_sd21_unet() -> UNet2DConditionModel:
    """SD2.1's U-Net in small: linear projections, OpenCLIP's text width."""
    return _build_unet(cross_attention_dim=OPEN_TEXT_WIDTH, use_linear_projection=True)


def build_sdxl_unet() -> UNet2DConditionModel:
    """SDXL's U-Net in small: two transformer layers in the lower level, pooled text, time ids."""
    return _build_unet(
        cross_attention_dim=TEXT_WIDTH + OPEN_TEXT_WIDTH,
        use_linear_projection=True,
        transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_ID_WIDTH,
        projection_class_embeddings_input_dim=OPEN_TEXT_WIDTH + 6 * TIME_ID_WIDTH,
    )


def build_depth_unet() -> UNet2DConditionModel:
    """The depth model's U-Net: attends to text at 16x16 and 8x8, the layout adapter at both."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=DEPTH_LATENT_CHANNELS,
        out_channels=DEPTH_LATENT_CHANNELS,
        block_out_channels=(32, 48, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=(2, 4, 4),  # heads, as SD1.5's config (mis)names them
        cross_attention_dim=TEXT_WIDTH,
    )


def _build_unet(**family: Any) -> UNet2DConditionModel:
    """The U-Net that the families share, with what is ``family``'s own."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(48, 56),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=(2, 4),  # heads of 16x16 and of 8x8, as SD1.5's config (mis)names them
        **family,
    )


@torch.no_grad()
def start_from(model: nn.Module, donor: nn.Module, fresh: bool = True) -> None:
    """Copy the weights that ``donor`` has in common with ``model``, in place.

    A 1x1 convolution becomes the linear layer it equals. Transformer layers that the donor does
    not have begin as the identity: their output layers are zero. Weights of another size (a text
    of another width) keep their random start. A model that is trained already (``fresh`` is False)
    keeps the layers that the donor does not have.
    """
    given = donor.state_dict()
    for name, value in model.state_dict().items():
        if name in given and given[name].numel() == value.numel():
            value.copy_(given[name].view_as(value))
        elif fresh and name not in given and name.endswith(_OUTPUTS):
            value.zero_()


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
