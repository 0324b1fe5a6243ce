"""The ``flux`` renderer: FLUX.1 with the depth on its channels and the joint-attention hook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from threedis_core.attention import JointPhases
from threedis_diffusers.instance_loras.placed import PlacedLoRAs
from threedis_diffusers.joint.renderer import JointRenderer
from threedis_diffusers.joint.texts import Encoded
from threedis_diffusers.loras import require_peft
from threedis_diffusers.model_files.requirements import NeededModel, needed_lora
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import LoRA
from threedis_diffusers.parts.find import FoundParts
from threedis_flux.checks import check_depth, check_fused
from threedis_flux.hook import FluxHook
from threedis_flux.instance_loras import placeless
from threedis_flux.options import FluxBaseOptions, FluxOptions, cache_config

GGUF = "SporkySporkness/FLUX.1-Depth-dev-GGUF/flux1-depth-dev-fp16"
T5 = "city96/t5-v1_1-xxl-encoder-gguf/t5-v1_1-xxl-encoder"
"""How the names of the published files begin whose weights are packed as GGUF."""
SCHNELL_TOKENS = 256
"""Text tokens that FLUX.1-schnell reads of a prompt."""


class FluxBase(JointRenderer):
    """What every renderer on FLUX.1 has."""

    Options: ClassVar[type[FluxBaseOptions]]
    options: FluxBaseOptions
    transformer_class = "FluxTransformer2DModel"
    needed = (
        "transformer",
        "vae",
        "text_encoder",
        "text_encoder_2",
        "tokenizer",
        "tokenizer_2",
        "scheduler",
    )
    fits: ClassVar[Mapping[str, tuple[str, str]]] = {
        "text_encoder": ("hidden_size", "pooled_projection_dim"),
        "text_encoder_2": ("d_model", "joint_attention_dim"),
    }
    no_negative = (
        "the negative prompt has no effect: FLUX.1 is distilled for guidance without one; say in "
        "the prompt what you want to see"
    )

    def encode(self, pipeline: Any, prompts: list[str], tokens: int) -> Encoded:
        """T5's embeddings, and CLIP's vectors."""
        hidden, pooled, _ = pipeline.encode_prompt(prompts, max_sequence_length=tokens)
        return Encoded(hidden, pooled)

    def most_tokens(self, pipeline: Any) -> int:
        """Half of them without guidance: FLUX.1-schnell was made with 256."""
        guided = pipeline.transformer.config.guidance_embeds
        return self.options.most_tokens if guided else SCHNELL_TOKENS

    def hook(self, pipeline: Any, phases: JointPhases, loras: PlacedLoRAs | None) -> FluxHook:
        """FLUX's own."""
        return FluxHook(pipeline.transformer, phases, loras=loras)

    def placeless(self, loras: PlacedLoRAs, pipeline: Any) -> Iterator[tuple[str, str]]:
        """The layers of LoRAs that see no tokens."""
        return placeless(loras.adapters, pipeline)

    def check_parts(self, found: FoundParts, model: ModelSource) -> None:
        """See that what comes from elsewhere fits, and that its projections can be joined."""
        super().check_parts(found, model)
        check_fused(self.options, found)

    def prepare(self, pipeline: Any) -> None:
        """Join the projections."""
        if self.options.fuse_qkv:
            pipeline.transformer.fuse_qkv_projections()


class FluxRenderer(FluxBase):
    """Render depth maps with FLUX.1-Depth, or with FLUX.1 and its depth LoRA."""

    Options = FluxOptions
    options: FluxOptions
    name: ClassVar[str] = "flux"
    pipeline_class = "FluxControlPipeline"
    model_classes = ("FluxControlPipeline", "FluxPipeline")
    smaller: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"quantization": "fp8"},
        *(
            {"transformer": f"{GGUF}-{size}-GGUF.gguf", "text_encoder_2": f"{T5}-{of_text}.gguf"}
            for size, of_text in (("Q8_0", "Q8_0"), ("Q5_0", "Q5_K_M"), ("Q4_0", "Q5_K_M"))
        ),
    )

    @property
    def one_by_one(self) -> bool:
        """True with a cache: it looks at a whole batch to decide what to skip."""
        return self.options.cache is not None

    @property
    def every_lora(self) -> Sequence[LoRA]:
        """The LoRAs that count everywhere, the depth LoRA first if there is one."""
        depth = self.options.depth_lora
        return self.options.loras if depth is None else (depth, *self.options.loras)

    def hook(self, pipeline: Any, phases: JointPhases, loras: PlacedLoRAs | None) -> FluxHook:
        """FLUX's own, which keeps the phases' caches apart."""
        return FluxHook(pipeline.transformer, phases, self.options.cache is not None, loras)

    def needed_models(self) -> Sequence[NeededModel]:
        """The pipeline and its depth LoRA."""
        needed = super().needed_models()
        if (lora := self.options.depth_lora) is None:
            return needed
        require_peft((lora,))
        return [*needed, needed_lora(lora, "depth lora")]

    def check_files(self, model: ModelSource) -> dict[str, str]:
        """See that the model's own files are there and that depth has a way in."""
        endings = super().check_files(model)
        transformer = model.read("transformer/config.json")
        if transformer and "transformer" not in self.options.replaced:
            check_depth(self.options, self.options.model, transformer)
        return endings

    def check_parts(self, found: FoundParts, model: ModelSource) -> None:
        """See that what comes from elsewhere fits, and that depth has a way in."""
        if "transformer" in found.parts:
            transformer = found.configuration("transformer", model)
            check_depth(self.options, self.options.transformer or "", transformer)
        super().check_parts(found, model)

    def unquantised(self) -> Mapping[str, tuple[str, ...]]:
        """What a depth LoRA makes larger, which only plain weights can be."""
        return {} if self.options.depth_lora is None else {"transformer": ("x_embedder",)}

    def prepare(self, pipeline: Any) -> None:
        """Join the projections, and switch the cache on."""
        super().prepare(pipeline)
        if self.options.cache is not None:
            pipeline.transformer.enable_cache(cache_config(self.options.cache))
