"""Training of what learns from pocket-flux: its predictions for the same noise, text and depth.

They hold far less noise than the pictures do, so a student is trained in a fraction of the time.
Shapes: B pictures of S image tokens of P channels, as in ``flow.py``; W text channels.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import (
    FluxControlNetModel,
    FluxControlPipeline,
    FluxTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
)
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from threedis_pocket.training.attention import Float32Attention
from threedis_pocket.training.diffusion import whole_caption
from threedis_pocket.training.flow import (
    FlowTask,
    conditions,
    mixture,
    one_of,
    pack,
    predict,
    weighted,
)
from threedis_pocket.training.sets import Pick
from threedis_pocket.training.text import pad_to

CLIP_TOKENS = (24, 32, 40, 77)
"""Of CLIP's tokens, as many as a pocket SD3 sees at least."""
SAME_CAPTION = 0.25
"""How often the global prompt says what the transformer's text does, and no more."""


class StudentTask(FlowTask):
    """Predict what the teacher predicts.

    The student may read a part of what the picture's global prompt says, as a region does.
    """

    def __init__(self, teacher: FluxTransformer2DModel, *parts: Any) -> None:
        super().__init__(*parts, wild=True)
        self.teacher = teacher.eval().requires_grad_(False)

    def prompts(self, picked: Pick, captions: list[str], rng: torch.Generator) -> list[str]:
        """The global prompts of pictures of which the student reads ``captions``."""
        dice = torch.rand(len(captions), generator=rng).tolist()
        return [
            said if d < SAME_CAPTION else whole_caption(picked.scenes, i, rng)
            for said, i, d in zip(captions, picked.numbers, dice, strict=True)
        ]

    def forward(self, **batch: Tensor) -> Tensor:
        with Float32Attention():
            return self.loss(**batch)

    @abstractmethod
    def loss(self, **batch: Tensor) -> Tensor:
        """How far the student's prediction is from the teacher's."""

    def taught(self, text: tuple[Tensor, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """The teacher's prediction (B, S, P)."""
        with torch.no_grad():
            return predict(self.teacher, text, batch).float()


class FluxControlNetTask(StudentTask):
    """Depth through a ControlNet, which reads the global prompt; guidance keeps its meaning."""

    guidance: ClassVar[tuple[float, float]] = (1.0, 4.0)

    def __init__(
        self, teacher: FluxTransformer2DModel, controlnet: FluxControlNetModel, *parts: Any
    ) -> None:
        super().__init__(teacher, *parts)
        self.controlnet = controlnet

    def texts(
        self, picked: Pick, captions: list[str], written: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        prompts = self.prompts(picked, captions, rng)
        longest = max(len(ids) for ids in self.t5_tokenizer(prompts).input_ids)
        own = self._ids(prompts, max(written, longest))
        return {
            **super().texts(picked, captions, written, rng),
            **{f"prompt_{name}": ids for name, ids in own.items()},
            "prompt_kept": torch.tensor(longest),
            "prompt_pooled": torch.rand(len(captions), generator=rng) < 0.5,
        }

    def loss(
        self,
        clip_ids: Tensor,
        t5_ids: Tensor,
        kept: Tensor,
        prompt_clip_ids: Tensor,
        prompt_t5_ids: Tensor,
        prompt_kept: Tensor,
        prompt_pooled: Tensor,
        **batch: Tensor,
    ) -> Tensor:
        states, pooled = self.encode(clip_ids, t5_ids, kept)
        target = self.taught((states, pooled), batch)
        prompt = self.encode(prompt_clip_ids, prompt_t5_ids, torch.maximum(kept, prompt_kept))
        noisy = mixture(batch)
        double, single = self.controlnet(
            hidden_states=noisy,
            controlnet_cond=batch["depth"],
            **conditions(*prompt, batch),
            return_dict=False,
        )
        pooled = torch.where(prompt_pooled[:, None], prompt[1], pooled)
        found = self.transformer(
            hidden_states=noisy,
            controlnet_block_samples=double,
            controlnet_single_block_samples=single,
            **conditions(states, pooled, batch),
        ).sample
        return weighted(found.float(), target, batch)


class SD3Task(StudentTask):
    """SD3.5's transformer and ControlNet; guidance is classifier-free, so the teacher's is 1.

    T5 is the teacher's own, padded with zeros: see :func:`threedis_pocket.sd3_models.widen_t5`.
    """

    guidance: ClassVar[tuple[float, float]] = (1.0, 1.0)
    written: ClassVar[tuple[int, ...]] = (0, 0, 128, 256)

    def __init__(
        self,
        teacher: FluxTransformer2DModel,
        controlnet: SD3ControlNetModel,
        open_clip: CLIPTextModelWithProjection,
        transformer: SD3Transformer2DModel,
        *parts: Any,
    ) -> None:
        super().__init__(teacher, transformer, *parts)
        self.controlnet = controlnet
        self.open_clip = open_clip.eval().requires_grad_(False)

    def texts(
        self, picked: Pick, captions: list[str], written: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        prompts = self.prompts(picked, captions, rng)
        coins = (torch.rand(len(captions), generator=rng) < 0.5).tolist()
        pooled = [  # an empty prompt is the negative half of guidance, all of it empty
            prompt if coin and said else said
            for said, prompt, coin in zip(captions, prompts, coins, strict=True)
        ]
        longest = max(len(ids) for ids in self.tokenizer(captions).input_ids)
        whole = float(torch.rand((), generator=rng)) < 0.3  # all that was written is read
        return {
            **super().texts(picked, captions, written, rng),
            "pooled_ids": pad_to(self.tokenizer, pooled, 77),
            "clip_kept": torch.tensor(77 if whole else max(longest, one_of(CLIP_TOKENS, rng))),
            "t5_whole": torch.tensor(whole),
        }

    def loss(
        self,
        clip_ids: Tensor,
        t5_ids: Tensor,
        kept: Tensor,
        pooled_ids: Tensor,
        clip_kept: Tensor,
        t5_whole: Tensor,
        **batch: Tensor,
    ) -> Tensor:
        with torch.no_grad():
            t5 = self.t5(t5_ids).last_hidden_state
            clips, own = self.read_clips(clip_ids)
            _, pooled = self.read_clips(pooled_ids)
        # The teacher reads one CLIP's pooled text alone.
        target = self.taught((t5[:, : int(kept)], own[:, : self.clip.config.hidden_size]), batch)
        read = t5 if t5_whole else t5[:, : int(kept)]
        text = torch.cat([clips[:, : int(clip_kept)], widened(read, clips.shape[2])], 1)
        return weighted(self.predicted(text, pooled, batch).float(), target, batch)

    def read_clips(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Both CLIPs' embeddings side by side, (B, 77, W), and their pooled ones, (B, W)."""
        one = self.clip(ids, output_hidden_states=True)
        other = self.open_clip(ids, output_hidden_states=True)
        hidden = torch.cat([one.hidden_states[-2], other.hidden_states[-2]], 2)
        return hidden, torch.cat([one.pooler_output, other.text_embeds], 1)

    def predicted(self, text: Tensor, pooled: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """The student's prediction (B, S, P) from T tokens (B, T, W) and pooled text (B, W)."""
        noisy, depth = (unpack(one, batch["grid"]) for one in (mixture(batch), batch["depth"]))
        told = {"pooled_projections": pooled, "timestep": batch["sigmas"] * 1000}
        (controls,) = self.controlnet(
            hidden_states=self.transformer.pos_embed(noisy),
            controlnet_cond=depth,
            **told,
            return_dict=False,
        )
        out = self.transformer(
            hidden_states=noisy,
            encoder_hidden_states=text,
            block_controlnet_hidden_states=controls,
            **told,
        ).sample
        return pack(out)


def widened(states: Tensor, width: int) -> Tensor:
    """T5's embeddings (B, T, D) as the widened T5 gives them, (B, T, W)."""
    return F.pad(states, (0, width - states.shape[2]))


def unpack(tokens: Tensor, grid: Tensor) -> Tensor:
    """Image tokens (B, H * W, 4C) as latents (B, C, 2H, 2W): what :func:`pack` packed."""
    height, width = (2 * grid).tolist()
    return FluxControlPipeline._unpack_latents(tokens, height, width, 1)
