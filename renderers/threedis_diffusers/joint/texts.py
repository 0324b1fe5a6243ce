"""What a model reads: each prompt of a picture embedded on its own, and cut to its first tokens.

Shapes: P prompts; N instances; L tokens of a prompt, of C channels; D channels of a pooled vector.

Source: 3DIS-FLUX (arXiv 2501.05131).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        hidden: One embedding a token, shape (P, L, C), or (L_i, C) each: without padding.
        pooled: One a prompt, shape (P, D); None: the model takes none.
    """

    hidden: Tensor | Sequence[Tensor]
    pooled: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of embedded prompts.

    Args:
        hidden: One embedding a token, (L_i, C) each.
        pooled: One a prompt, shape (P, D); None: the model takes none.
    """

    hidden: Sequence[Tensor]
    pooled: Tensor | None = None


@dataclass(frozen=True)
class Reader:
    """How a model's prompts are embedded, and what it cuts off.

    Args:
        encode: Embeds prompts, the text of each padded to some tokens, as the stock pipeline does.
        tokenizer: The tokenizer whose tokens are counted.
        most: So many of them are read of a prompt at most.
        keep: Of prompts and their embeddings, (T, C) each, what is kept if so many tokens are.
        pads_to_most: True if what is kept of a picture's prompts was padded to ``most``, once any
            instance is heard; False: only "auto" pads to ``most``, a number to itself.
        summarisers: Tokenizers of what reads the global prompt besides, by what it makes of it.
        special: Tokens that are read with each prompt, beside its own.
    """

    encode: Callable[[list[str], int], Encoded]
    tokenizer: Any
    most: int
    keep: Callable[[list[str], Tensor | Sequence[Tensor], int], Sequence[Tensor]]
    pads_to_most: bool = True
    summarisers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    special: int = 0

    def read(self, prompts: list[str], padded: int, tokens: int) -> Kept:
        """Embed prompts, the text of each padded to ``padded`` tokens; keep ``tokens`` of it."""
        found = self.encode(prompts, padded)
        return Kept(self.keep(prompts, found.hidden, tokens), found.pooled)


@dataclass(frozen=True, eq=False)
class PictureText:
    """The embedded prompts of one picture.

    Args:
        hidden: Embeddings of the global prompt and the N instances', (L_i, C) each.
        tokens: The tokens of each prompt that are counted.
        pooled: The global prompt's, shape (1, D); None: the model takes none.
        negative: The negative prompt; None: it is not read.
        warnings: One line per prompt that is read only in part, or that has no effect.
    """

    hidden: Sequence[Tensor]
    tokens: int
    pooled: Tensor | None
    negative: Kept | None = None
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
    prompts of a controlled picture are padded to as many tokens as the model takes, then cut,
    unless the reader says otherwise. A picture of which nothing is controlled is the stock
    pipeline's with a ``max_sequence_length`` of as many tokens as are kept. As by the stock
    pipeline the negative prompt is embedded apart, for together they would round otherwise.

    Args:
        reader: The model's.
        layout: The picture's layout.
        controlled: True if any control is ever on; else the instances' prompts are not embedded.
        guided: True if the negative prompt is read.
        tokens_per_prompt: How many are kept, or "auto": as many as the longest prompt that is read
            has, special ones included, rounded up.
        unread: What is told of a negative prompt; None: the model reads it, at times.
    """
    named = named_prompts(layout, controlled, guided)
    prompts = tokenize(reader.tokenizer, named)
    special, auto = reader.special, tokens_per_prompt == "auto"
    longest = max(len(one.ids) for one in prompts) + special
    tokens = _rounded_up(longest, reader.most) if auto else min(int(tokens_per_prompt), reader.most)
    padded = reader.most if (controlled if reader.pads_to_most else auto) else tokens
    texts = [one.prompt for one in prompts]
    with quiet():  # the pipeline's own warning of long prompts; ours follow
        negative = reader.read([texts.pop()], padded, tokens) if guided else None
        positive = reader.read(texts, padded, tokens)
    # What is cut before it is read keeps its end mark.
    window = tokens - special if padded == tokens else tokens
    warnings = cut_warnings(reader.tokenizer, prompts, window)
    for name, tokenizer in reader.summarisers.items():
        warnings += cut_warnings(tokenizer, tokenize(tokenizer, [(name, layout.prompt)]))
    if layout.negative_prompt and unread is not None:
        warnings.append(unread)
    pooled = None if positive.pooled is None else positive.pooled[:1]
    return PictureText(positive.hidden, tokens, pooled, negative, tuple(warnings))


def needed_tokens(prompts: Sequence[str], most: int, *tokenizers: Any) -> list[int]:
    """How many tokens each prompt has, special ones included, rounded up, and at most ``most``.

    Args:
        prompts: The prompts.
        most: So many are read at most.
        *tokenizers: The one that makes the most of a prompt counts; None counts nothing.
    """
    counts = [[0] * len(prompts)]
    for tokenizer in tokenizers:
        if tokenizer is not None:
            counts.append([len(ids) for ids in tokenizer(prompts, verbose=False).input_ids])
    return [_rounded_up(max(own), most) for own in zip(*counts, strict=True)]


def _rounded_up(tokens: int, most: int) -> int:
    return min(-(-tokens // MULTIPLE) * MULTIPLE, most)


def named_prompts(layout: Layout, controlled: bool, guided: bool) -> list[tuple[str, str]]:
    """What a person would call each prompt of ``layout`` that is read, and the prompt."""
    named = [("the prompt", layout.prompt)]
    if controlled:
        for index, instance in enumerate(layout.instances):
            named.append((f"the prompt of instance {index}", instance.prompt))
    if guided:
        named.append(("the negative prompt", layout.negative_prompt))
    return named
