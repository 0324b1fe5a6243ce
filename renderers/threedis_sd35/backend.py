"""The ``sd35`` renderer: Stable Diffusion 3.5, large or medium, with a depth ControlNet.

Its text is [CLIP's 77 tokens; T5's], its order [image; text]; negative prompts have rows of their
own in front. The medium model has a second, image-only attention in some blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from threedis_core.attention import Site, TokenOrder
from threedis_diffusers.batch import Batch
from threedis_diffusers.joint.control import seeded_latents
from threedis_diffusers.joint.controlnet import JointControlNetRenderer
from threedis_diffusers.joint.options import ControlNetOptions
from threedis_diffusers.joint.texts import Encoded, needed_tokens
from threedis_diffusers.options import GUIDANCE
from threedis_diffusers.parts.options import part_field

T5 = ("text_encoder_3", "tokenizer_3")
TEXT = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", *T5)
MOST_TOKENS = 256
"""T5's, of a prompt."""
GGUF = "city96/stable-diffusion-3.5-large-gguf/sd3.5_large"


class SD35Options(ControlNetOptions):
    """Options of ``sd35``."""

    family = "Stable Diffusion 3.5"
    parts = ("transformer", "controlnet", "vae", *TEXT[::2])
    large = ("transformer", "controlnet", "text_encoder_3")
    most_tokens = MOST_TOKENS

    model: str = Field(
        default="stabilityai/stable-diffusion-3.5-large",
        min_length=1,
        description="Local folder or hub id in diffusers format of a Stable Diffusion 3.5.",
    )
    transformer: str | None = part_field("An SD3Transformer2DModel")
    text_encoder: str | None = part_field("A CLIPTextModelWithProjection")
    text_encoder_2: str | None = part_field("A CLIPTextModelWithProjection")
    text_encoder_3: str | None = part_field("A T5EncoderModel")
    vae: str | None = part_field("An AutoencoderKL")
    t5: bool = Field(
        default=True,
        description="Read prompts with T5, too; false: with the two CLIPs alone, for less memory.",
    )
    steps: int = Field(default=30, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    guidance: float = Field(default=4.5, ge=0, allow_inf_nan=False, description=GUIDANCE)
    tokens_per_prompt: int | Literal["auto"] = Field(
        default=MOST_TOKENS,
        description="T5's tokens kept of each prompt, 1 to 256, beside CLIP's 77. auto: of both "
        "as many as each prompt needs, which is faster.",
    )

    @model_validator(mode="after")
    def _no_t5_that_is_not_read(self) -> Self:
        if self.text_encoder_3 is not None and not self.t5:
            raise ValueError("t5 is false, but text_encoder_3 names a T5; leave one of them out")
        return self


class SD35Renderer(JointControlNetRenderer):
    """Render depth maps with Stable Diffusion 3.5 and its depth ControlNet."""

    Options = SD35Options
    options: SD35Options
    name = "sd35"
    pipeline_class = "StableDiffusion3ControlNetPipeline"
    model_classes = ("StableDiffusion3Pipeline", pipeline_class)
    transformer_class, controlnet_class = "SD3Transformer2DModel", "SD3ControlNetModel"
    default_controlnet = "stabilityai/stable-diffusion-3.5-large-controlnet-depth"
    smaller = tuple({"transformer": f"{GGUF}-{size}.gguf"} for size in ("Q8_0", "Q5_0", "Q4_0"))
    needed = ("transformer", "vae", "scheduler", *TEXT)
    left_out_by = dict.fromkeys(T5, "t5=false")
    fits: ClassVar[Mapping[str, Any]] = {"text_encoder_3": ("d_model", "joint_attention_dim")}
    controlnet_fits = ("in_channels", "num_attention_heads", "pooled_projection_dim")
    tokenizer = "tokenizer_3"
    summarisers: ClassVar[Mapping[str, str]] = {"what CLIP reads of the prompt": "tokenizer"}
    pads_to_most = False
    order = TokenOrder(image_first=True)
    positions = 192
    negative_rows = "before"
    heads = (38, 64)

    @property
    def absent(self) -> Sequence[str]:
        """T5, if the options say so: the pipeline then reads zeros in its place."""
        return () if self.options.t5 else T5

    def start(self, scheduler: Any, steps: int) -> None:
        """Without noise levels or a shift of the pipeline's own."""
        scheduler.set_timesteps(steps)

    def encode(self, pipeline: Any, prompts: list[str], tokens: int) -> Encoded:
        """CLIP's tokens, then T5's."""
        hidden, _, pooled, _ = pipeline.encode_prompt(
            *[prompts] * 3, do_classifier_free_guidance=False, max_sequence_length=tokens
        )
        return Encoded(hidden, pooled)

    def keep(
        self, pipeline: Any, prompts: list[str], hidden: Tensor | Sequence[Tensor], tokens: int
    ) -> Sequence[Tensor]:
        """All, as the stock pipeline does; or of CLIP's and T5's what each prompt needs."""
        if self.options.tokens_per_prompt != "auto":
            return list(hidden)
        most = pipeline.tokenizer_max_length
        clip = needed_tokens(prompts, most, pipeline.tokenizer, pipeline.tokenizer_2)
        t5 = needed_tokens(prompts, MOST_TOKENS, pipeline.tokenizer_3)
        counts = zip(hidden, clip, t5, strict=True)
        return [torch.cat([one[:n], one[most : most + m]]) for one, n, m in counts]

    def site(self, name: str) -> Site:
        """The second attention of a block sees the image alone."""
        return "image" if name.endswith("attn2") else "joint"

    def around(self, pipeline: Any, batch: Batch) -> AbstractContextManager[Any]:
        """The pipeline samples the depth's latents, by default from torch's own generator."""
        return seeded_latents(pipeline.vae, [one.seed for one in batch.requests])
