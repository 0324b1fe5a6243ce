"""Training of the pocket Z-Image: few steps without guidance, as Z-Image-Turbo was made.

Shapes: B pictures of S image tokens of P channels, as in ``flow.py``; T_i text tokens.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel, ZImageControlNetModel, ZImageTransformer2DModel
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedTokenizerBase, Qwen3Model

from threedis_pocket.qwen_tokenizer import templated
from threedis_pocket.training.flow import mixture, pack, weighted
from threedis_pocket.training.sets import Pick
from threedis_pocket.training.students import StudentTask, unpack
from threedis_pocket.training.text import pad_to

GUIDANCE = 3.0
"""The teacher's, which the student has learnt once it needs none."""
QWEN_TOKENS = 80


class ZImageTask(StudentTask):
    """Z-Image's transformer and ControlNet, which read the same text."""

    guidance: ClassVar[tuple[float, float]] = (GUIDANCE, GUIDANCE)

    def __init__(
        self,
        teacher: FluxTransformer2DModel,
        controlnet: ZImageControlNetModel,
        qwen: tuple[Qwen3Model, PreTrainedTokenizerBase],
        transformer: ZImageTransformer2DModel,
        *parts: Any,
    ) -> None:
        super().__init__(teacher, transformer, *parts)
        self.controlnet = ZImageControlNetModel.from_transformer(controlnet, transformer)
        self.controlnet.gradient_checkpointing = False  # read with gradients, but never set
        self.qwen, self.qwen_tokenizer = qwen[0].eval().requires_grad_(False), qwen[1]

    def texts(
        self, picked: Pick, captions: list[str], written: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        own = pad_to(self.qwen_tokenizer, templated(self.qwen_tokenizer, captions), QWEN_TOKENS)
        return {**super().texts(picked, captions, written, rng), "qwen_ids": own}

    def loss(
        self, clip_ids: Tensor, t5_ids: Tensor, kept: Tensor, qwen_ids: Tensor, **batch: Tensor
    ) -> Tensor:
        target = self.taught(self.encode(clip_ids, t5_ids, kept), batch)
        return weighted(self.predicted(self.read(qwen_ids), batch).float(), target, batch)

    @torch.no_grad()
    def read(self, ids: Tensor) -> list[Tensor]:
        """What Z-Image reads of each prompt, (T_i, D)."""
        seen = ids != self.qwen_tokenizer.pad_token_id
        out = self.qwen(input_ids=ids, attention_mask=seen, output_hidden_states=True)
        return [one[mask] for one, mask in zip(out.hidden_states[-2], seen, strict=True)]

    def predicted(self, text: list[Tensor], batch: dict[str, Tensor]) -> Tensor:
        """The student's prediction (B, S, P) from texts of T_i tokens."""
        noisy, depth = (unpack(one, batch["grid"]) for one in (mixture(batch), batch["depth"]))
        empty = self.controlnet.config.control_in_dim - depth.shape[1]
        control = F.pad(depth, (0, 0, 0, 0, 0, empty))
        told = [*noisy[:, :, None].unbind()], 1 - batch["sigmas"], text
        with _AsTheTarget():
            controls = self.controlnet(*told, [*control[:, :, None].unbind()])
            (found,) = self.transformer(*told, controlnet_block_samples=controls, return_dict=False)
        return pack(-torch.stack([*found]).squeeze(2))


class _AsTheTarget(TorchFunctionMode):
    """Put values into tensors in the tensors' own precision, as autocast does everywhere else."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__setitem__ and isinstance(args[2], Tensor):
            target, where, value = args
            args = target, where, value.to(target)
        return func(*args, **(kwargs or {}))
