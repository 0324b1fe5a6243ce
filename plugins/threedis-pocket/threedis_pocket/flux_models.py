"""The architecture of the pocket FLUX: diffusers' own classes, small."""

from __future__ import annotations

from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

from threedis_pocket.models import T5_WIDTH, TEXT_WIDTH, build_autoencoder

LATENT_CHANNELS = 4
PACKED_CHANNELS = 4 * LATENT_CHANNELS


def build_flux_vae() -> AutoencoderKL:
    """A KL autoencoder, factor 4: FLUX packs 2x2 latents, so 128 px become 16x16 tokens."""
    vae = build_autoencoder((16, 24, 40), LATENT_CHANNELS)
    vae.register_to_config(shift_factor=0.0)
    return vae


def build_flux_transformer() -> FluxTransformer2DModel:
    """FLUX.1-Depth's transformer: 2 double and 4 single blocks, depth on the channel axis."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=2 * PACKED_CHANNELS,
        out_channels=PACKED_CHANNELS,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(8, 12, 12),
    )


def build_flux_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """FLUX.1's own scheduler: flow matching, shifted by the number of image tokens."""
    return FlowMatchEulerDiscreteScheduler(
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )
