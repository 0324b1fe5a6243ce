"""What FLUX reads: each prompt of a picture encoded on its own, and cut to its first tokens.

Shapes: N instances; L tokens of a prompt, of T channels; P channels of CLIP's pooled vector.

Source: 3DIS-FLUX (arXiv 2501.05131).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from threedis_core.values.layout import Layout
from threedis_diffusers.cut_prompts import cut_warnings
from threedis_diffusers.quiet import quiet
from threedis_flux.options import MOST_TOKENS

MULTIPLE = 8
"""What ``auto`` rounds the number of tokens up to."""


@dataclass(frozen=True, eq=False)
class PictureText:
    """The embedded prompts of one picture.

    Args:
        hidden: T5's embeddings of the global prompt and the N instances', shape (1 + N, L, T).
        pooled: CLIP's vector of the global prompt, shape (P,).
    """

    hidden: Tensor
    pooled: Tensor

    @property
    def tokens(self) -> int:
        """L, the tokens of each prompt."""
        return self.hidden.shape[1]


def encode_picture(
    pipeline: Any, layout: Layout, controlled: bool, tokens_per_prompt: int | Literal["auto"]
) -> PictureText:
    """Embed a layout's prompts as the stock pipeline does.

    T5 has no padding mask, so what a prompt is padded to is seen in its embedding: as published,
    prompts of a controlled picture are padded to 512 tokens, then cut. A picture of which nothing
    is controlled is the stock pipeline's with ``max_sequence_length`` L.

    Args:
        pipeline: The loaded pipeline.
        layout: The picture's layout.
        controlled: True if any control is ever on; else only the global prompt is embedded.
        tokens_per_prompt: L, or "auto": the longest prompt that is read, rounded up.
    """
    prompts = [prompt for _, prompt in named_prompts(layout, controlled)]
    tokens = tokens_per_prompt
    if tokens == "auto":
        tokens = _longest(pipeline.tokenizer_2, prompts)
    with quiet():  # the pipeline's own warning of long prompts; ours are text_warnings
        hidden, pooled, _ = pipeline.encode_prompt(
            prompts, max_sequence_length=MOST_TOKENS if controlled else tokens
        )
    return PictureText(hidden[:, :tokens].clone(), pooled[0])  # to free what was cut


def named_prompts(layout: Layout, controlled: bool) -> Iterator[tuple[str, str]]:
    """What a person would call each prompt of ``layout`` that is read, and the prompt."""
    yield "the prompt", layout.prompt
    if controlled:
        for index, instance in enumerate(layout.instances):
            yield f"the prompt of instance {index}", instance.prompt


def text_warnings(pipeline: Any, layout: Layout, controlled: bool, tokens: int) -> list[str]:
    """One line per prompt that is read only in part, or that has no effect.

    Args:
        pipeline: The loaded pipeline.
        layout: The picture's layout.
        controlled: True if the instances' prompts are read.
        tokens: L, the tokens of each prompt.
    """
    window = tokens
    if not controlled or tokens == MOST_TOKENS:  # cut before T5 reads it, which keeps its end mark
        window -= pipeline.tokenizer_2.num_special_tokens_to_add()
    lines = cut_warnings(pipeline.tokenizer_2, named_prompts(layout, controlled), window)
    lines += cut_warnings(pipeline.tokenizer, [("CLIP's summary of the prompt", layout.prompt)])
    if layout.negative_prompt:
        lines.append(
            "the negative prompt has no effect: FLUX.1 is distilled for guidance without one; "
            "say in the prompt what you want to see"
        )
    return lines


def _longest(tokenizer: Any, prompts: list[str]) -> int:
    longest = max(len(ids) for ids in tokenizer(prompts, verbose=False).input_ids)
    return min(-(-longest // MULTIPLE) * MULTIPLE, MOST_TOKENS)
