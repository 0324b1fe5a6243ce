"""What FLUX reads: each prompt of a picture encoded on its own, and cut to its first tokens.

Shapes: N instances; L tokens of a prompt, of T channels; P channels of CLIP's pooled vector.

Source: 3DIS-FLUX (arXiv 2501.05131).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from threedis_core.values.layout import Layout
from threedis_diffusers.cut_prompts import cut_warnings, tokenize
from threedis_diffusers.quiet import quiet
from threedis_flux.options import MOST_TOKENS

MULTIPLE = 8
"""What ``auto`` rounds the number of tokens up to."""
NO_NEGATIVE_PROMPT = (
    "the negative prompt has no effect: FLUX.1 is distilled for guidance without one; say in the "
    "prompt what you want to see"
)


@dataclass(frozen=True, eq=False)
class PictureText:
    """The embedded prompts of one picture.

    Args:
        hidden: T5's embeddings of the global prompt and the N instances', shape (1 + N, L, T).
        tokens: L, the tokens of each prompt.
        pooled: CLIP's vector of the global prompt, shape (P,).
        warnings: One line per prompt that is read only in part, or that has no effect.
    """

    hidden: Tensor
    tokens: int
    pooled: Tensor
    warnings: tuple[str, ...] = ()


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
        tokens_per_prompt: L, or "auto": as many as the longest prompt that is read has, special
            ones included, rounded up.
    """
    named = named_prompts(layout, controlled)
    prompts = tokenize(pipeline.tokenizer_2, named)
    special, tokens = pipeline.tokenizer_2.num_special_tokens_to_add(), tokens_per_prompt
    if tokens == "auto":
        longest = max(len(one.ids) for one in prompts) + special
        tokens = min(-(-longest // MULTIPLE) * MULTIPLE, MOST_TOKENS)
    with quiet():  # the pipeline's own warning of long prompts; ours follow
        hidden, pooled, _ = pipeline.encode_prompt(
            [one.prompt for one in prompts],
            max_sequence_length=MOST_TOKENS if controlled else tokens,
        )
    # What is cut before T5 reads it keeps its end mark.
    window = tokens - special if not controlled or tokens == MOST_TOKENS else tokens
    warnings = cut_warnings(pipeline.tokenizer_2, prompts, window)
    summary = tokenize(pipeline.tokenizer, [("CLIP's summary of the prompt", layout.prompt)])
    warnings += cut_warnings(pipeline.tokenizer, summary)
    if layout.negative_prompt:
        warnings.append(NO_NEGATIVE_PROMPT)
    # Cloned to free what was cut off.
    return PictureText(hidden[:, :tokens].clone(), tokens, pooled[0], tuple(warnings))


def named_prompts(layout: Layout, controlled: bool) -> list[tuple[str, str]]:
    """What a person would call each prompt of ``layout`` that is read, and the prompt."""
    named = [("the prompt", layout.prompt)]
    if controlled:
        for index, instance in enumerate(layout.instances):
            named.append((f"the prompt of instance {index}", instance.prompt))
    return named
