"""Training of the pocket Qwen-Image: its autoencoder, and its transformer with its ControlNet.

Shapes: B pictures of S image tokens of P channels, as in ``flow.py``; T text tokens of width D.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FluxTransformer2DModel,
    QwenImageControlNetModel,
)
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from threedis_pocket.training.data import Pictures
from threedis_pocket.training.flow import mixture, weighted
from threedis_pocket.training.sets import Pick
from threedis_pocket.training.students import StudentTask
from threedis_pocket.training.text import in_template, pad_to, read_qwen_vl
from threedis_pocket.training.vae import VaeTask, reconstruction_loss


class QwenVaeTask(VaeTask):
    """Learn another autoencoder's latents: encode pictures into them, make pictures of them."""

    def __init__(
        self, vae: AutoencoderKLQwenImage, teacher: AutoencoderKL, sets: Sequence[Pictures]
    ) -> None:
        super().__init__(vae, sets, depth_share=0.3)  # pyright: ignore[reportArgumentType]
        self.teacher = teacher.eval().requires_grad_(False)

    def forward(self, picture: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.teacher.encode(picture).latent_dist
            latents = target.sample()
        found = self.vae.encode(picture[:, :, None]).latent_dist
        out = self.vae.decode(latents[:, :, None]).sample.squeeze(2)
        same = F.mse_loss(found.mean.squeeze(2), target.mean)
        spread = F.mse_loss(found.logvar.squeeze(2), target.logvar)
        return reconstruction_loss(out, picture) + same + 0.01 * spread


class QwenImageTask(StudentTask):
    """Qwen-Image's transformer and ControlNet, which read the same text.

    Guidance is classifier-free, so the teacher's is 1.
    """

    guidance: ClassVar[tuple[float, float]] = (1.0, 1.0)

    def __init__(
        self,
        teacher: FluxTransformer2DModel,
        controlnet: QwenImageControlNetModel,
        qwen: tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerBase],
        *parts: Any,
    ) -> None:
        super().__init__(teacher, *parts)
        self.controlnet = controlnet
        self.qwen, self.qwen_tokenizer = qwen[0].eval().requires_grad_(False), qwen[1]

    def texts(
        self, picked: Pick, captions: list[str], written: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        said = in_template(captions)
        longest = max(len(ids) for ids in self.qwen_tokenizer(said).input_ids)
        own = pad_to(self.qwen_tokenizer, said, longest)
        return {**super().texts(picked, captions, written, rng), "qwen_ids": own}

    def loss(
        self, clip_ids: Tensor, t5_ids: Tensor, kept: Tensor, qwen_ids: Tensor, **batch: Tensor
    ) -> Tensor:
        target = self.taught(self.encode(clip_ids, t5_ids, kept), batch)
        with torch.no_grad():
            text = read_qwen_vl(self.qwen, qwen_ids, self.qwen_tokenizer.pad_token_id)
        return weighted(self.predicted(*text, batch).float(), target, batch)

    def predicted(self, text: Tensor, seen: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """The student's prediction (B, S, P) from texts (B, T, D), of which some is padding."""
        told = {
            "hidden_states": mixture(batch),
            "encoder_hidden_states": text,
            "encoder_hidden_states_mask": seen,
            "timestep": batch["sigmas"],
            "img_shapes": [(1, *batch["grid"].tolist())] * len(text),
            "return_dict": False,
        }
        controls = self.controlnet(controlnet_cond=batch["depth"], **told)
        return self.transformer(controlnet_block_samples=controls, **told)[0]
