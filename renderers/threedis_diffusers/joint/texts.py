"""What a model reads: each prompt of a picture embedded on its own, and cut to its first tokens.

Shapes: P prompts; N instances; L tokens of a prompt, of C channels; D channels of a pooled vector.

Source: 3DIS-FLUX (arXiv 2501.05131).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from threedis_core.values.layout import Layout
from threedis_diffusers.cut_prompts import cut_warnings, tokenize
from threedis_diffusers.quiet import quiet

MULTIPLE = 8
"""What ``auto`` rounds the number of tokens up to."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Embedded prompts.

    Args:
        hidden: One embedding a token, shape (P, L, C).
        pooled: One a prompt, shape (P, D); None: the model takes none.
    """

    hidden: Tensor
    pooled: Tensor | None = None

    def prompt(self, index: int) -> Encoded:
        """One prompt of them, still with P = 1."""
        some = slice(index, index + 1)
        return Encoded(self.hidden[some], None if self.pooled is None else self.pooled[some])


@dataclass(frozen=True)
class Reader:
    """How a model's prompts are embedded, and what it cuts off.

    Args:
        encode: Embeds prompts, the text of each padded to some tokens, as the stock pipeline does.
        tokenizer: The tokenizer whose tokens are counted.
        most: So many of them are read of a prompt at most.
        fixed: Tokens of each embedding in front of those that are counted.
        summarisers: Tokenizers of what reads the global prompt besides, by what it makes of it.
    """

    encode: Callable[[list[str], int], Encoded]
    tokenizer: Any
    most: int
    fixed: int = 0
    summarisers: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, eq=False)
class PictureText:
    """The embedded prompts of one picture.

    Args:
        hidden: Embeddings of the global prompt and the N instances', shape (1 + N, L, C).
        tokens: The tokens of each prompt that are counted.
        pooled: The global prompt's, shape (1, D); None: the model takes none.
        negative: The negative prompt, of L tokens; None: it is not read.
        warnings: One line per prompt that is read only in part, or that has no effect.
    """

    hidden: Tensor
    tokens: int
    pooled: Tensor | None
    negative: Encoded | None = None
    warnings: tuple[str, ...] = ()


def read_picture(
    reader: Reader,
    layout: Layout,
    controlled: bool,
    guided: bool,
    tokens_per_prompt: int | Literal["auto"],
    unread: str | None = None,
) -> PictureText:
    """Embed a layout's prompts as the stock pipeline does.

    T5 has no padding mask, so what a prompt is padded to is seen in its embedding: as published,
    prompts of a controlled picture are padded to as many tokens as the model takes, then cut. A
    picture of which nothing is controlled is the stock pipeline's with ``max_sequence_length`` L.

    Args:
        reader: The model's.
        layout: The picture's layout.
        controlled: True if any control is ever on; else the instances' prompts are not embedded.
        guided: True if the negative prompt is read.
        tokens_per_prompt: L, or "auto": as many as the longest prompt that is read has, special
            ones included, rounded up.
        unread: What is told of a negative prompt; None: the model reads it, at times.
    """
    named = named_prompts(layout, controlled, guided)
    prompts = tokenize(reader.tokenizer, named)
    special, tokens = reader.tokenizer.num_special_tokens_to_add(), tokens_per_prompt
    if tokens == "auto":
        longest = max(len(one.ids) for one in prompts) + special
        tokens = min(-(-longest // MULTIPLE) * MULTIPLE, reader.most)
    with quiet():  # the pipeline's own warning of long prompts; ours follow
        read = reader.encode([one.prompt for one in prompts], reader.most if controlled else tokens)
    # What is cut before it is read keeps its end mark.
    window = tokens - special if not controlled or tokens == reader.most else tokens
    warnings = cut_warnings(reader.tokenizer, prompts, window)
    for name, tokenizer in reader.summarisers.items():
        warnings += cut_warnings(tokenizer, tokenize(tokenizer, [(name, layout.prompt)]))
    if layout.negative_prompt and unread is not None:
        warnings.append(unread)
    # Cloned to free what was cut off.
    kept = Encoded(read.hidden[:, : reader.fixed + tokens].clone(), read.pooled)
    negative = kept.prompt(len(prompts) - 1) if guided else None
    hidden = kept.hidden[:-1] if guided else kept.hidden
    return PictureText(hidden, tokens, kept.prompt(0).pooled, negative, tuple(warnings))


def named_prompts(layout: Layout, controlled: bool, guided: bool) -> list[tuple[str, str]]:
    """What a person would call each prompt of ``layout`` that is read, and the prompt."""
    named = [("the prompt", layout.prompt)]
    if controlled:
        for index, instance in enumerate(layout.instances):
            named.append((f"the prompt of instance {index}", instance.prompt))
    if guided:
        named.append(("the negative prompt", layout.negative_prompt))
    return named
