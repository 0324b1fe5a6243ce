"""The ``qwen-image`` renderer: Qwen-Image with ControlNet-Union.

Its texts are as long as they are, in a template of the pipeline's; guidance takes a second call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from threedis_core.attention import JointPhases
from threedis_diffusers.batch import Batch
from threedis_diffusers.instance_loras.placed import PlacedLoRAs
from threedis_diffusers.joint.controlnet import JointControlNetRenderer
from threedis_diffusers.joint.hook import JointHook
from threedis_diffusers.joint.options import ControlNetOptions
from threedis_diffusers.joint.texts import Encoded
from threedis_diffusers.options import GUIDANCE
from threedis_diffusers.parts.options import part_field
from threedis_qwen_image.hook import QwenImageHook

GGUF = "city96/Qwen-Image-gguf/qwen-image"
MOST_TOKENS = 1024
BEHIND = "<|im_end|>\n<|im_start|>assistant\n"
"""What the template has behind a prompt, which is read with it."""


class QwenImageOptions(ControlNetOptions):
    """Options of ``qwen-image``."""

    family = "Qwen-Image"
    parts = ("transformer", "controlnet", "vae", "text_encoder")
    large = ("transformer", "controlnet", "text_encoder")
    most_tokens = MOST_TOKENS

    model: str = Field(
        default="Qwen/Qwen-Image",
        min_length=1,
        description="Local folder or hub id in diffusers format of a Qwen-Image.",
    )
    transformer: str | None = part_field("A QwenImageTransformer2DModel")
    text_encoder: str | None = part_field("A Qwen2_5_VLForConditionalGeneration")
    vae: str | None = part_field("An AutoencoderKLQwenImage")
    steps: int = Field(default=50, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    guidance: float = Field(default=4.0, ge=0, allow_inf_nan=False, description=GUIDANCE)


class QwenImageRenderer(JointControlNetRenderer):
    """Render depth maps with Qwen-Image and its ControlNet."""

    Options = QwenImageOptions
    options: QwenImageOptions
    name = "qwen-image"
    pipeline_class = "QwenImageControlNetPipeline"
    model_classes = ("QwenImagePipeline", pipeline_class)
    transformer_class, controlnet_class = "QwenImageTransformer2DModel", "QwenImageControlNetModel"
    default_controlnet = "InstantX/Qwen-Image-ControlNet-Union"
    smaller = (
        {"transformer": f"{GGUF}-Q4_K_M.gguf"},
        {
            "transformer": f"{GGUF}-Q3_K_S.gguf",
            "quantization": {"text_encoder": "fp8", "controlnet": "fp8"},
        },
    )
    needed = ("transformer", "vae", "scheduler", "text_encoder", "tokenizer")
    controlnet_fits = ("in_channels", "num_attention_heads", "joint_attention_dim")
    tokenizer = "tokenizer"
    summarisers: ClassVar[Mapping[str, str]] = {}
    pads_to_most, masks_texts = False, True
    negative_rows = "apart"
    no_negative = "the negative prompt has no effect without guidance"

    def special_tokens(self, tokenizer: Any) -> int:
        """Those of the template behind the prompt; those in front are cut off."""
        return len(tokenizer(BEHIND).input_ids)

    def prepare(self, pipeline: Any) -> None:
        """Have the VAE count its layers now, as it else does while it draws the first picture."""
        pipeline.vae.clear_cache()

    def encode(self, pipeline: Any, prompts: list[str], tokens: int) -> Encoded:
        """Each as long as it is."""
        texts, masks = pipeline.encode_prompt(prompts, max_sequence_length=tokens)
        if masks is None:  # none is padded
            return Encoded([*texts])
        return Encoded([text[mask.bool()] for text, mask in zip(texts, masks, strict=True)])

    def keep(
        self, pipeline: Any, prompts: list[str], hidden: Tensor | Sequence[Tensor], tokens: int
    ) -> Sequence[Tensor]:
        """The first tokens of each."""
        return [text[:tokens] for text in hidden]

    def arguments(self, pipeline: Any, batch: Batch) -> dict[str, Any]:
        """Guidance is that of two calls; no text is cut again."""
        return {
            **super().arguments(pipeline, batch),
            "true_cfg_scale": batch.guidance,
            "guidance_scale": None,
            "max_sequence_length": MOST_TOKENS,
        }

    def hook(self, pipeline: Any, phases: JointPhases, loras: PlacedLoRAs | None) -> JointHook:
        """The transformer's."""
        return QwenImageHook(pipeline.transformer, phases)

    def other_hooks(self, pipeline: Any, phases: JointPhases) -> Sequence[JointHook]:
        """None: the pipeline hides padding from the ControlNet itself."""
        return ()
