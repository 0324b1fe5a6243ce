"""Training of the pocket FLUX: flow matching on packed latents, depth and captions.

Shapes: B pictures of S image tokens (16x16 at 128 pixels) with P = 16 channels, T text tokens of
width D.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import FluxControlPipeline, FluxTransformer2DModel
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPTokenizer,
    PreTrainedTokenizerBase,
    T5EncoderModel,
)

from threedis_pocket.training.diffusion import caption
from threedis_pocket.training.sets import LatentSet, Pick, loss_weights, pick
from threedis_pocket.training.text import pad_to
from threedis_train.engine import Task

KEPT_TOKENS = (32, 32, 40, 48, 64)
"""Text tokens the transformer sees; the longest caption of five objects has 28, of eight 43."""
WRITTEN_TOKENS = (0, 0, 128, 512)
"""Tokens T5 sees of which those are kept (at least as many): FLUX cuts after encoding."""
SHIFT = 1.65  # e**0.5: the scheduler's shift at 256 image tokens


def pack(latents: Tensor) -> Tensor:
    """Latents (B, C, H, W) as image tokens (B, H/2 * W/2, 4C), as the FLUX pipelines do it."""
    return FluxControlPipeline._pack_latents(latents, *latents.shape)


def image_ids(height: int, width: int) -> Tensor:
    """Position ids (H * W, 3) of an H x W token grid."""
    return FluxControlPipeline._prepare_latent_image_ids(1, height, width, "cpu", torch.float32)


class FlowTask(Task):
    """Predict noise minus latents from their mixture, a caption and depth; the texts are frozen.

    The guidance embedding sees random guidance that changes nothing; :class:`GuidedTask` gives it
    its meaning.
    """

    guidance: ClassVar[tuple[float, float]] = (1.0, 12.0)
    written: ClassVar[tuple[int, ...]] = WRITTEN_TOKENS

    def __init__(
        self,
        transformer: FluxTransformer2DModel,
        clip: tuple[CLIPTextModel, CLIPTokenizer],
        t5: tuple[T5EncoderModel, PreTrainedTokenizerBase],
        sets: Sequence[LatentSet],
        wild: bool = False,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.clip, self.t5 = (m.eval().requires_grad_(False) for m in (clip[0], t5[0]))
        self.tokenizer, self.t5_tokenizer = clip[1], t5[1]
        self.sets, self.wild = sets, wild

    def batch(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        picked = pick(self.sets, size, rng)
        assert picked.data.depth_latents is not None
        latents = picked.read(picked.data.latents)
        depth = picked.read(picked.data.depth_latents)
        if self.wild:  # learned depth maps are not exact
            dice = torch.rand(size, 1, 1, 1, generator=rng)
            depth = depth + torch.randn(depth.shape, generator=rng) * 0.1 * (dice < 1 / 3)
        weights = loss_weights(picked) if self.wild else torch.ones(size, 1, *latents.shape[2:])
        captions = [caption(picked.scenes, i, rng) for i in picked.numbers]
        longest = max(len(ids) for ids in self.t5_tokenizer(captions).input_ids)
        kept = max(one_of(KEPT_TOKENS, rng), longest)
        written = max(kept, one_of(self.written, rng))
        low, high = self.guidance
        return {
            "latents": pack(latents),
            "depth": pack(depth),
            "noise": pack(torch.randn(latents.shape, generator=rng)),
            "weights": pack(weights).mean(2, keepdim=True),
            "grid": torch.tensor(latents.shape[2:]) // 2,
            "sigmas": _sigmas(size, rng),
            "guidance": low + (high - low) * torch.rand(size, generator=rng),
            "kept": torch.tensor(kept),
            **self.texts(picked, captions, written, rng),
        }

    def texts(
        self, picked: Pick, captions: list[str], written: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """The batch's token ids, T5's padded to ``written``."""
        return self._ids(captions, written)

    def _ids(self, captions: list[str], written: int) -> dict[str, Tensor]:
        return {
            "clip_ids": pad_to(self.tokenizer, captions, 77),
            "t5_ids": pad_to(self.t5_tokenizer, captions, written),
        }

    def forward(self, clip_ids: Tensor, t5_ids: Tensor, kept: Tensor, **batch: Tensor) -> Tensor:
        text = self.encode(clip_ids, t5_ids, kept)
        return weighted(predict(self.transformer, text, batch), velocity(batch), batch)

    @torch.no_grad()
    def encode(self, clip_ids: Tensor, t5_ids: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """T5's embeddings of the kept tokens (B, T, D), and CLIP's pooled ones (B, D')."""
        states = self.t5(t5_ids).last_hidden_state[:, : int(kept)]
        return states, self.clip(clip_ids).pooler_output


class GuidedTask(FlowTask):
    """Give the guidance embedding its meaning, as FLUX.1-dev got it: by distillation.

    The teacher is the trained transformer with classifier-free guidance, the student starts as the
    same transformer and predicts in one pass what the teacher takes two for.
    """

    guidance: ClassVar[tuple[float, float]] = (1.0, 4.0)

    def __init__(self, teacher: FluxTransformer2DModel, *parts: Any, wild: bool = False) -> None:
        super().__init__(*parts, wild=wild)
        self.teacher = teacher.eval().requires_grad_(False)

    def batch(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        batch = super().batch(size, rng)
        empty = self._ids([""] * size, batch["t5_ids"].shape[1])
        return {**batch, **{f"empty_{name}": ids for name, ids in empty.items()}}

    def forward(
        self,
        clip_ids: Tensor,
        t5_ids: Tensor,
        kept: Tensor,
        empty_clip_ids: Tensor,
        empty_t5_ids: Tensor,
        **batch: Tensor,
    ) -> Tensor:
        text = self.encode(clip_ids, t5_ids, kept)
        with torch.no_grad():
            told = predict(self.teacher, text, batch)
            untold = predict(self.teacher, self.encode(empty_clip_ids, empty_t5_ids, kept), batch)
            target = untold + batch["guidance"][:, None, None] * (told - untold)
        return weighted(predict(self.transformer, text, batch), target, batch)


def weighted(found: Tensor, target: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The mean squared error, each token as much as the batch's weights say."""
    return ((found - target).square() * batch["weights"]).mean()


def velocity(batch: dict[str, Tensor]) -> Tensor:
    """What flow matching predicts, (B, S, P)."""
    return batch["noise"] - batch["latents"]


def predict(
    transformer: FluxTransformer2DModel, text: tuple[Tensor, Tensor], batch: dict[str, Tensor]
) -> Tensor:
    """The transformer's prediction (B, S, P) at the batch's mixture of latents and noise."""
    states, pooled = text
    return transformer(
        hidden_states=torch.cat([mixture(batch), batch["depth"]], 2),
        **conditions(states, pooled, batch),
    ).sample


def mixture(batch: dict[str, Tensor]) -> Tensor:
    """Latents and noise, mixed as the batch's noise levels say, (B, S, P)."""
    return batch["latents"] + batch["sigmas"][:, None, None] * velocity(batch)


def conditions(states: Tensor, pooled: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What FLUX's transformer and ControlNet are told beside the picture."""
    height, width = batch["grid"].tolist()
    return {
        "encoder_hidden_states": states,
        "pooled_projections": pooled,
        "timestep": batch["sigmas"],
        "guidance": batch["guidance"],
        "img_ids": image_ids(height, width).to(states.device),
        "txt_ids": torch.zeros(states.shape[1], 3, device=states.device),
    }


def one_of(choices: tuple[int, ...], rng: torch.Generator) -> int:
    """A random one of ``choices``."""
    return choices[int(torch.randint(len(choices), (), generator=rng))]


def _sigmas(size: int, rng: torch.Generator) -> Tensor:
    """Noise levels in (0, 1], shifted towards noise, where colours are decided."""
    uniform = 1 - torch.rand(size, generator=rng)
    return SHIFT * uniform / (1 + (SHIFT - 1) * uniform)
