"""Training of the pocket text encoders, before the diffusion models and without pictures.

CLIP's text encoder comes to a diffusion model already knowing which adjective belongs to which
noun. The pocket's learns that here: a small attention head asks the encoder's last hidden states
"which colours does the sphere have?" for every shape. Then the encoder is frozen, as SD's is, and
cross-attention finds the colour of a shape at the shape's own word.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    CLIPTextModelWithProjection,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from threedis_pocket.qwen_image_models import prompt_template
from threedis_pocket.qwen_tokenizer import templated
from threedis_pocket.scenes import join_phrases, phrase
from threedis_pocket.shapes import SHAPES
from threedis_pocket.world import COLOURS
from threedis_train.engine import Task


def random_objects(size: int, rng: torch.Generator) -> list[list[tuple[int, int]]]:
    """``size`` lists of 1 to 6 (colour, shape) pairs; colours differ within a list."""
    lists = []
    for _ in range(size):
        count = int(torch.randint(1, 7, (), generator=rng))
        colours = torch.randperm(len(COLOURS), generator=rng)[:count].tolist()
        shapes = torch.randint(len(SHAPES), (count,), generator=rng).tolist()
        lists.append(list(zip(colours, shapes, strict=True)))
    return lists


def _caption(objects: list[tuple[int, int]], style: int) -> str:
    """A list of objects, or (style 0) one object said again and again."""
    phrases = [phrase(*pair) for pair in objects]
    return ", and ".join([phrases[0]] * len(phrases)) if style == 0 else join_phrases(phrases)


def _answers(objects: list[tuple[int, int]]) -> Tensor:
    """Colour shares of every shape, (shapes, colours + 1); the last column is "not there"."""
    table = torch.zeros(len(SHAPES), len(COLOURS) + 1)
    for colour, shape in objects:
        table[shape, colour] = 1
    table[:, -1] = (table.sum(1) == 0).float()
    return table / table.sum(1, keepdim=True)


class TextTask(Task):
    """Ask a caption for the colours of each shape. Shapes: B captions, L tokens, D width."""

    lengths: ClassVar[tuple[int, ...]] = (77, 40, 40, 40, 40, 40)
    """Numbers of tokens to pad captions to, one of them drawn for every batch."""

    def __init__(self, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        width = encoder.get_input_embeddings().weight.shape[1]  # pyright: ignore
        self.encoder, self.tokenizer = encoder, tokenizer
        self.question = nn.Parameter(torch.randn(len(SHAPES), width) * 0.1)
        self.head = nn.MultiheadAttention(width, 4, batch_first=True)
        self.answer = nn.Linear(width, len(COLOURS) + 1)

    def batch(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        objects = random_objects(size, rng)
        styles = torch.randint(8, (size,), generator=rng).tolist()
        captions = [_caption(o, s) for o, s in zip(objects, styles, strict=True)]
        length = self.lengths[int(torch.randint(len(self.lengths), (), generator=rng))]
        said = [o[:1] if s == 0 else o for o, s in zip(objects, styles, strict=True)]
        return {
            "ids": self.tokens(captions, length),
            "answers": torch.stack([_answers(o) for o in said]),
        }

    def tokens(self, captions: list[str], length: int) -> Tensor:
        """Token ids (B, length) of captions."""
        return pad_to(self.tokenizer, captions, length)

    def asked(self, ids: Tensor) -> list[Tensor]:
        """The hidden states (B, L, D) that diffusion models will read."""
        return [self.encoder(ids).last_hidden_state]

    def forward(self, ids: Tensor, answers: Tensor) -> Tensor:
        return torch.stack([self._ask(states, answers) for states in self.asked(ids)]).mean()

    def _ask(self, states: Tensor, answers: Tensor, hidden: Tensor | None = None) -> Tensor:
        question = self.question.expand(len(states), -1, -1)
        found, _ = self.head(question, states, states, key_padding_mask=hidden)
        return F.cross_entropy(self.answer(found).flatten(0, 1), answers.flatten(0, 1))


class OpenClipTask(TextTask):
    """Ask the last layer and the one before it, which SD2.1 and SDXL read, and the pooled text."""

    def __init__(
        self, encoder: CLIPTextModelWithProjection, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        super().__init__(encoder, tokenizer)
        self.pooled_answer = nn.Linear(
            encoder.config.projection_dim, len(SHAPES) * (len(COLOURS) + 1)
        )

    def asked(self, ids: Tensor) -> list[Tensor]:
        out = self.encoder(ids, output_hidden_states=True)
        norm = self.encoder.text_model.final_layer_norm
        return [out.last_hidden_state, norm(out.hidden_states[-2]), out.hidden_states[-2]]

    def forward(self, ids: Tensor, answers: Tensor) -> Tensor:
        pooled = self.pooled_answer(self.encoder(ids).text_embeds).unflatten(1, answers.shape[1:])
        loss = F.cross_entropy(pooled.flatten(0, 1), answers.flatten(0, 1))
        return super().forward(ids, answers) + 0.3 * loss


class T5Task(TextTask):
    """T5 is read with its padding, as FLUX reads it, so it learns with much and with little."""

    lengths = (32, 32, 40, 48, 64, 128)

    def batch(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        batch = super().batch(size, rng)
        if float(torch.rand((), generator=rng)) < 0.05:  # FLUX's 512 tokens, for a few captions
            few = max(1, size // 12)
            padding = batch["ids"].new_full((few, 512), self.tokenizer.pad_token_id)
            padding[:, : batch["ids"].shape[1]] = batch["ids"][:few]
            return {"ids": padding, "answers": batch["answers"][:few]}
        return batch


class QwenTask(TextTask):
    """Ask what Z-Image reads: a prompt in a chat's form, the layer before the last, no padding."""

    lengths = (64,)

    def tokens(self, captions: list[str], length: int) -> Tensor:
        return pad_to(self.tokenizer, templated(self.tokenizer, captions), length)

    def asked(self, ids: Tensor) -> list[Tensor]:
        seen = ids != self.tokenizer.pad_token_id
        out = self.encoder(input_ids=ids, attention_mask=seen, output_hidden_states=True)
        return [out.hidden_states[-2]]

    def forward(self, ids: Tensor, answers: Tensor) -> Tensor:
        (states,) = self.asked(ids)
        return self._ask(states, answers, ids == self.tokenizer.pad_token_id)


class QwenVLTask(TextTask):
    """Ask what Qwen-Image reads: the last layer, without what stands in front of the prompt."""

    lengths = (96,)

    def tokens(self, captions: list[str], length: int) -> Tensor:
        return pad_to(self.tokenizer, in_template(captions), length)

    def forward(self, ids: Tensor, answers: Tensor) -> Tensor:
        states, seen = read_qwen_vl(self.encoder, ids, self.tokenizer.pad_token_id)
        return self._ask(states, answers, ~seen)


def in_template(texts: list[str]) -> list[str]:
    """The texts as Qwen-Image's pipelines hand them to the tokenizer."""
    template, _ = prompt_template()
    return [template.format(text) for text in texts]


def read_qwen_vl(encoder: PreTrainedModel, ids: Tensor, pad: int) -> tuple[Tensor, Tensor]:
    """What Qwen-Image reads of prompts in its template, (B, T, D), and which tokens are no padding.

    Args:
        encoder: Qwen2.5-VL.
        ids: Token ids (B, L), padded at the end; T is L less what the pipelines cut off in front.
        pad: The id of padding.
    """
    _, start = prompt_template()
    seen = ids != pad
    out = encoder(input_ids=ids, attention_mask=seen, output_hidden_states=True)
    return out.hidden_states[-1][:, start:], seen[:, start:]


def pad_to(tokenizer: PreTrainedTokenizerBase, texts: list[str], length: int) -> Tensor:
    """Token ids (B, length) of texts, padded and cut to ``length`` tokens."""
    return tokenizer(
        texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
