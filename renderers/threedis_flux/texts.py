"""What FLUX reads: each prompt of a picture encoded on its own, and cut to its first tokens.

Shapes: N instances; L tokens of a prompt, of T channels; P channels of CLIP's pooled vector.

Source: 3DIS-FLUX (arXiv 2501.05131).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from threedis_core.values.layout import Layout
from threedis_diffusers.cut_prompts import TokenizedPrompt, cut_warnings, tokenize
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
        warnings: One line per prompt that is read only in part, or that has no effect.
    """

    hidden: Tensor
    pooled: Tensor
    warnings: tuple[str, ...] = ()

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
    prompts = tokenize(pipeline.tokenizer_2, named_prompts(layout, controlled))
    tokens = tokens_per_prompt
    if tokens == "auto":
        tokens = _longest(pipeline.tokenizer_2, prompts)
    with quiet():  # the pipeline's own warning of long prompts; ours are text_warnings
        hidden, pooled, _ = pipeline.encode_prompt(
            [one.prompt for one in prompts],
            max_sequence_length=MOST_TOKENS if controlled else tokens,
        )
    warnings = text_warnings(pipeline, layout, prompts, controlled, tokens)
    # Cloned to free what was cut off.
    return PictureText(hidden[:, :tokens].clone(), pooled[0], tuple(warnings))


def named_prompts(layout: Layout, controlled: bool) -> Iterator[tuple[str, str]]:
    """What a person would call each prompt of ``layout`` that is read, and the prompt."""
    yield "the prompt", layout.prompt
    if controlled:
        for index, instance in enumerate(layout.instances):
            yield f"the prompt of instance {index}", instance.prompt


def text_warnings(
    pipeline: Any,
    layout: Layout,
    prompts: Sequence[TokenizedPrompt],
    controlled: bool,
    tokens: int,
) -> list[str]:
    """One line per prompt that is read only in part, or that has no effect.

    Args:
        pipeline: The loaded pipeline.
        layout: The picture's layout.
        prompts: The prompts that T5 reads, in its tokens.
        controlled: True if the instances' prompts are read.
        tokens: L, the tokens of each prompt.
    """
    window = tokens
    if not controlled or tokens == MOST_TOKENS:  # cut before T5 reads it, which keeps its end mark
        window -= pipeline.tokenizer_2.num_special_tokens_to_add()
    lines = cut_warnings(pipeline.tokenizer_2, prompts, window)
    summary = tokenize(pipeline.tokenizer, [("CLIP's summary of the prompt", layout.prompt)])
    lines += cut_warnings(pipeline.tokenizer, summary)
    if layout.negative_prompt:
        lines.append(
            "the negative prompt has no effect: FLUX.1 is distilled for guidance without one; "
            "say in the prompt what you want to see"
        )
    return lines


def _longest(tokenizer: Any, prompts: Sequence[TokenizedPrompt]) -> int:
    """The tokens of the longest prompt, its special ones included, rounded up."""
    longest = max(len(one.ids) for one in prompts) + tokenizer.num_special_tokens_to_add()
    return min(-(-longest // MULTIPLE) * MULTIPLE, MOST_TOKENS)
