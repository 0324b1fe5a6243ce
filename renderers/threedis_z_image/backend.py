"""The ``z-image`` renderer: Z-Image-Turbo with Fun-Controlnet-Union, a few steps, no guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from threedis_core.attention import JointPhases, Site, TokenOrder
from threedis_diffusers.instance_loras.placed import PlacedLoRAs
from threedis_diffusers.joint.controlnet import JointControlNetRenderer
from threedis_diffusers.joint.options import ScaledControlNetOptions
from threedis_diffusers.joint.processor import Sites
from threedis_diffusers.joint.texts import Encoded
from threedis_diffusers.parts.options import part_field
from threedis_z_image.controlnets import describe, sites
from threedis_z_image.hook import ZImageHook

UNION = "alibaba-pai/Z-Image-Turbo-Fun-Controlnet-Union-2.1"
LITE = f"{UNION}/Z-Image-Turbo-Fun-Controlnet-Union-2.1-lite-2602-8steps.safetensors"
MULTIPLE = 32
"""Image tokens, and those of each text, are padded to a multiple of this."""
SITES: Mapping[str, Site] = {"noise_refiner": "image", "context_refiner": "text", "layers": "joint"}


class ZImageOptions(ScaledControlNetOptions):
    """Options of ``z-image``."""

    family = "Z-Image"
    parts = ("transformer", "controlnet", "vae", "text_encoder")
    large = ("transformer", "controlnet", "text_encoder")

    model: str = Field(
        default="Tongyi-MAI/Z-Image-Turbo",
        min_length=1,
        description="Local folder or hub id in diffusers format of a Z-Image.",
    )
    transformer: str | None = part_field("A ZImageTransformer2DModel")
    text_encoder: str | None = part_field("A Qwen3Model")
    vae: str | None = part_field("An AutoencoderKL")
    steps: int = Field(default=8, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    guidance: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Classifier-free guidance, 0 or more: 0 has none, costs half, and is what "
        "Z-Image-Turbo was made for; above it the negative prompt is read.",
    )
    i2i_steps: int | None = Field(
        2, ge=0, description="For how many steps of 20, from the first, i2i is on: of 8 the first."
    )
    controlnet_scale: float = Field(
        default=0.75,
        ge=0,
        allow_inf_nan=False,
        description="How much the depth map counts, 0 or more: 0.65 to 0.8 as published.",
    )


class ZImageRenderer(JointControlNetRenderer):
    """Render depth maps with Z-Image and its ControlNet, which hears every instance, too."""

    Options = ZImageOptions
    options: ZImageOptions
    name = "z-image"
    pipeline_class = "ZImageControlNetPipeline"
    model_classes = ("ZImagePipeline", pipeline_class)
    transformer_class, controlnet_class = "ZImageTransformer2DModel", "ZImageControlNetModel"
    default_controlnet = f"{UNION}/Z-Image-Turbo-Fun-Controlnet-Union-2.1-2602-8steps.safetensors"
    smaller = ({"controlnet": LITE},)
    needed = ("transformer", "vae", "scheduler", "text_encoder", "tokenizer")
    fits: ClassVar[Mapping[str, Any]] = {"text_encoder": ("hidden_size", "cap_feat_dim")}
    controlnet_fits = ("dim", "n_heads", "n_refiner_layers")
    describe_file = staticmethod(describe)
    tokenizer = "tokenizer"
    summarisers: ClassVar[Mapping[str, str]] = {}
    positions = 512
    templated, lists_texts, pads_to_most = True, True, False
    negative_rows, guided_above = "after", 0.0
    no_negative = "the negative prompt has no effect without guidance"

    def token_order(self, grid: tuple[int, int]) -> TokenOrder:
        """The image is padded, too."""
        return TokenOrder(True, suffix=-grid[0] * grid[1] % MULTIPLE, text_multiple=MULTIPLE)

    def encode(self, pipeline: Any, prompts: list[str], tokens: int) -> Encoded:
        """Each as long as it is; the pipeline writes into the list that it is given."""
        texts, _ = pipeline.encode_prompt(
            [*prompts], do_classifier_free_guidance=False, max_sequence_length=tokens
        )
        return Encoded(texts)

    def site(self, name: str) -> Sites:
        """Refiners come before the layers that see all tokens."""
        return SITES.get(name.partition(".")[0])

    def hook(self, pipeline: Any, phases: JointPhases, loras: PlacedLoRAs | None) -> ZImageHook:
        """The transformer's, whose refiners the ControlNet runs, too."""
        return ZImageHook(pipeline.transformer, phases, self.site)

    def other_hooks(self, pipeline: Any, phases: JointPhases) -> Sequence[ZImageHook]:
        """The ControlNet's: what it adds is added to text tokens, too, so it has the same."""
        return [ZImageHook(pipeline.controlnet, phases, sites(pipeline.controlnet))]
