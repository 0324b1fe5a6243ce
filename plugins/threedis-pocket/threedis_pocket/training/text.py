"""Training of the pocket text encoder, before the diffusion model and without pictures.

CLIP's text encoder comes to a diffusion model already knowing which adjective belongs to which
noun. The pocket's learns that here: a small attention head asks the encoder's last hidden states
"which colours does the sphere have?" for every shape. Then the encoder is frozen, as SD's is, and
cross-attention finds the colour of a shape at the shape's own word.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from threedis_pocket.scenes import join_phrases, phrase
from threedis_pocket.training.loop import Task
from threedis_pocket.world import COLOURS, SHAPES


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

    def __init__(self, encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        width = encoder.config.hidden_size
        self.encoder, self.tokenizer = encoder, tokenizer
        self.question = nn.Parameter(torch.randn(len(SHAPES), width) * 0.1)
        self.head = nn.MultiheadAttention(width, 4, batch_first=True)
        self.answer = nn.Linear(width, len(COLOURS) + 1)

    def batch(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        objects = random_objects(size, rng)
        styles = torch.randint(8, (size,), generator=rng).tolist()
        captions = [_caption(o, s) for o, s in zip(objects, styles, strict=True)]
        length = 77 if int(torch.randint(6, (), generator=rng)) == 0 else 40
        ids = self.tokenizer(
            captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        said = [o[:1] if s == 0 else o for o, s in zip(objects, styles, strict=True)]
        return {"ids": ids, "answers": torch.stack([_answers(o) for o in said])}

    def forward(self, ids: Tensor, answers: Tensor) -> Tensor:
        states = self.encoder(ids).last_hidden_state
        found, _ = self.head(self.question.expand(len(ids), -1, -1), states, states)
        return F.cross_entropy(self.answer(found).flatten(0, 1), answers.flatten(0, 1))
