"""A renderer on a pipeline with joint attention: Stable Diffusion 3 with a depth ControlNet."""

FILES = {
    "$module/__init__.py": '''
"""The renderer ``$name``. Nothing else is imported here, so that listing plugins stays fast."""

from threedis_core import hookimpl


@hookimpl
def threedis_register_renderers(register):
    backend = "$module.backend:${title}Renderer"
    register("$name", backend, "What it draws with, in a few words")
''',
    "$module/backend.py": '''
"""The renderer ``$name``: Stable Diffusion 3 with a depth ControlNet.

Only what is this model's own is here. Files, devices, offload, batches, the hook, progress and
provenance are the base's: see ``help(JointRenderer)``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from pydantic import Field

from threedis_core.attention import Site, TokenOrder
from threedis_diffusers.batch import Batch
from threedis_diffusers.joint.control import seeded_latents
from threedis_diffusers.joint.controlnet import JointControlNetRenderer
from threedis_diffusers.joint.options import ControlNetOptions
from threedis_diffusers.joint.texts import Encoded
from threedis_diffusers.options import GUIDANCE
from threedis_diffusers.parts.options import PART


class ${title}Options(ControlNetOptions):
    """Those of every such model, with this one's parts and defaults."""

    family = "Stable Diffusion 3"
    parts: ClassVar[tuple[str, ...]] = ("transformer", "text_encoder_3", "vae", "controlnet")
    large: ClassVar[tuple[str, ...]] = ("transformer", "text_encoder_3")  # what is worth quantising
    most_tokens: ClassVar[int] = 256  # of T5

    model: str = Field(
        default="stabilityai/stable-diffusion-3-medium-diffusers",
        min_length=1,
        description="Local folder or hub id in diffusers format.",
    )
    transformer: str | None = Field(default=None, description=f"An SD3Transformer2DModel {PART}")
    text_encoder_3: str | None = Field(default=None, description=f"A T5EncoderModel {PART}")
    vae: str | None = Field(default=None, description=f"An AutoencoderKL {PART}")
    steps: int = Field(default=28, ge=1, le=1000, description="Denoising steps, 1 to 1000.")
    guidance: float = Field(default=7.0, ge=0, allow_inf_nan=False, description=GUIDANCE)


class ${title}Renderer(JointControlNetRenderer):
    """Render depth maps with this model."""

    Options = ${title}Options
    options: ${title}Options
    name = "$name"
    pipeline_class = "StableDiffusion3ControlNetPipeline"
    model_classes = ("StableDiffusion3Pipeline", "StableDiffusion3ControlNetPipeline")
    transformer_class, controlnet_class = "SD3Transformer2DModel", "SD3ControlNetModel"
    default_controlnet = "InstantX/SD3-Controlnet-Depth"
    needed = (
        *("transformer", "vae", "scheduler", "text_encoder", "text_encoder_2", "text_encoder_3"),
        *("tokenizer", "tokenizer_2", "tokenizer_3"),
    )
    tokenizer = "tokenizer_3"  # whose tokens the option tokens_per_prompt counts
    summarisers = {"what CLIP reads of the prompt": "tokenizer"}
    order = TokenOrder(image_first=True)  # of the tokens in an attention
    pads_to_most = False  # a prompt is padded as the stock pipeline pads it
    negative_rows = "before"  # in the transformer's batch; "none", where there is no such guidance

    def encode(self, pipeline: Any, prompts: list[str], tokens: int) -> Encoded:
        """As the stock pipeline does."""
        hidden, _, pooled, _ = pipeline.encode_prompt(
            *(prompts, prompts, prompts),
            do_classifier_free_guidance=False,
            max_sequence_length=tokens,
        )
        return Encoded(hidden, pooled)

    def fixed_tokens(self, pipeline: Any) -> int:
        """CLIP's tokens come before T5's."""
        return pipeline.tokenizer_max_length

    def site(self, name: str) -> Site:
        """Some of these models have a second attention in a block, among the image alone."""
        return "image" if name.endswith("attn2") else "joint"

    def around(self, pipeline: Any, batch: Batch) -> AbstractContextManager[Any]:
        """The stock pipeline samples the depth's latents from a generator that all share."""
        return seeded_latents(pipeline.vae, [one.seed for one in batch.requests])
''',
    "tests/tiny.py": '''
"""The model's own classes at a tiny size, with random weights: seconds on a CPU."""

from __future__ import annotations

import string

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3ControlNetPipeline,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from threedis_diffusers.testing import awaken

SIZES = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "caption_projection_dim": 32,
    "joint_attention_dim": 32,
    "pooled_projection_dim": 20,
    "pos_embed_max_size": 16,
    "dual_attention_layers": (0, 1),
    "qk_norm": "rms_norm",
}


def tiny_pipeline() -> StableDiffusion3ControlNetPipeline:
    """Always the same weights, none of them all zero: nothing would be seen of those."""
    torch.manual_seed(0)
    pipeline = StableDiffusion3ControlNetPipeline(
        transformer=SD3Transformer2DModel(**SIZES, num_layers=4),
        controlnet=SD3ControlNetModel(
            **SIZES, num_layers=2, force_zeros_for_pooled_projection=False
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=AutoencoderKL(
            block_out_channels=(8, 16, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
            latent_channels=4,
            shift_factor=0.06,
        ),
        text_encoder=clip(8),
        text_encoder_2=clip(12),
        text_encoder_3=T5EncoderModel(
            T5Config(vocab_size=128, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
        ),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        tokenizer_3=t5_tokenizer(),
    )
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            awaken(part).eval()
    return pipeline


def clip(width: int) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=514,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=width,
            bos_token_id=512,
            eos_token_id=513,
        )
    )


def clip_tokenizer() -> CLIPTokenizer:
    """Letter by letter."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def t5_tokenizer() -> T5TokenizerFast:
    """Letter by letter."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("\\u2581", -3.0)]
    letters = [(one, -10.0) for one in string.printable if not one.isspace()]
    return T5TokenizerFast(vocab=[*pieces, *letters], extra_ids=0)
''',
    "tests/test_$module.py": '''
"""``$name`` passes the suite that every renderer on a diffusers pipeline must pass."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_pipeline

from $module.backend import ${title}Options, ${title}Renderer
from threedis_diffusers.testing import DiffusersConformance

STEPS, GUIDANCE, TOKENS = 2, 4.0, 24


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


class Test${title}(DiffusersConformance):
    plugin_module = "$module"

    @pytest.fixture(autouse=True)
    def _model(self, folder):
        self.folder = folder

    def make_backend(self, **options):
        fixed = {
            "model": str(self.folder),
            "steps": STEPS,
            "guidance": GUIDANCE,
            "tokens_per_prompt": TOKENS,
            "default_side": 64,
        }
        return ${title}Renderer(${title}Options(**{**fixed, **options}))

    def make_backend_without_weights(self):
        return ${title}Renderer(${title}Options(model="/no/such/model"))

    def base_model_picture(self, request):
        """The stock pipeline alone, never the renderer under test."""
        pipeline = tiny_pipeline()
        pipeline.set_progress_bar_config(disable=True)
        pipeline.vae.enable_slicing()  # as renderers do: pictures are encoded one by one
        with torch.random.fork_rng():  # which the stock pipeline samples the depth's latents from
            torch.manual_seed(request.seed)
            return pipeline(
                request.layout.prompt,
                negative_prompt=request.layout.negative_prompt,
                control_image=request.depth.to_image(),
                width=request.width,
                height=request.height,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                max_sequence_length=TOKENS,
                generator=torch.Generator().manual_seed(request.seed),
            ).images[0]
''',
}
