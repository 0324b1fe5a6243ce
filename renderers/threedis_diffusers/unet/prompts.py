"""What the model reads: the texts of a batch and their embeddings, row by row.

Shapes: B pictures, R = sum(1 + N_i) rows, L text tokens of T channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from threedis_core.values.layout import Layout

MOST_REPEATS = 7
NEUTRAL_PROMPT = "masterpiece, best quality"
"""What a ControlNet reads instead of the picture's prompt. Source: 3DIS, the published scripts."""
NEUTRAL_NEGATIVE_PROMPT = "worst quality, low quality, bad anatomy, watermark, text, blurry"


@dataclass(frozen=True, eq=False)
class Text:
    """Embeddings of some texts.

    Args:
        hidden: Shape (texts, L, T).
        pooled: Shape (texts, P), for models that take a pooled embedding.
    """

    hidden: Tensor
    pooled: Tensor | None = None

    def zeroed(self, which: Sequence[bool]) -> Text:
        """The same with zeros for ``which`` texts."""
        keep = torch.tensor([not one for one in which], device=self.hidden.device)
        pooled = None if self.pooled is None else self.pooled * keep[:, None]
        return Text(self.hidden * keep[:, None, None], pooled)


Encode = Callable[[list[str]], Text]


@dataclass(frozen=True, eq=False)
class BatchText:
    """The embedded texts of a batch.

    Args:
        negative: The negative prompts, B texts; None without classifier-free guidance.
        positive: The global prompts, B texts.
        rows: Negatives if there is guidance, then per picture global and instances, shape
            (B + R or R, L, T).
        arguments: How a pipeline is given the global and the negative prompts.
    """

    negative: Text | None
    positive: Text
    rows: Tensor
    arguments: Mapping[str, Tensor]


def encode_batch(
    encode: Encode, layouts: Sequence[Layout], guided: bool, repeat: bool, zeros: bool = False
) -> BatchText:
    """Embed everything the U-Net reads for ``layouts``.

    Args:
        encode: The model's text encoding.
        layouts: One per picture.
        guided: True with classifier-free guidance.
        repeat: Repeat each instance's prompt once per instance of its layout.
        zeros: No negative prompt is zeros instead of the embedding of no words: SDXL's way.
    """
    prompts = [instance_prompts(layout, repeat) for layout in layouts]
    texts = [text for some in prompts for text in some]
    negatives = [layout.negative_prompt for layout in layouts]
    positive = encode([layout.prompt for layout in layouts])
    read = [positive, encode(negatives)] if guided else [positive]
    positive, *others = same_length(encode, [*read, *([encode(texts)] if texts else [])])
    negative = others[0] if guided else None
    if negative is not None and zeros:
        negative = negative.zeroed([not text for text in negatives])
    instances = others[-1].hidden if texts else positive.hidden[:0]
    rows = [] if negative is None else [negative.hidden]
    given = {"prompt_embeds": positive.hidden, "pooled_prompt_embeds": positive.pooled}
    if negative is not None:
        given |= {
            "negative_prompt_embeds": negative.hidden,
            "negative_pooled_prompt_embeds": negative.pooled,
        }
    for one, own in zip(positive.hidden, instances.split([*map(len, prompts)]), strict=True):
        rows += [one[None], own]
    arguments = {name: value for name, value in given.items() if value is not None}
    return BatchText(negative, positive, torch.cat(rows), arguments)


def same_length(encode: Encode, texts: Sequence[Text]) -> list[Text]:
    """Texts as long as the longest of them, by windows of no words after the others."""
    longest = max(text.hidden.shape[1] for text in texts)
    if all(text.hidden.shape[1] == longest for text in texts):
        return list(texts)
    window = encode([""]).hidden
    padded: list[Text] = []
    for text in texts:
        count = (longest - text.hidden.shape[1]) // window.shape[1]
        nothing = window.expand(len(text.hidden), -1, -1).repeat(1, count, 1)
        padded.append(Text(torch.cat([text.hidden, nothing], 1), text.pooled))
    return padded


def instance_prompts(layout: Layout, repeat: bool) -> list[str]:
    """The instances' prompts; repeated as published: joined by ", and ", at most 7 times."""
    times = min(len(layout.instances), MOST_REPEATS) if repeat else 1
    return [", and ".join([instance.prompt] * times) for instance in layout.instances]


def named_prompts(layout: Layout, guided: bool) -> Iterator[tuple[str, str]]:
    """What a person would call each prompt of ``layout`` that is read, and the prompt."""
    yield "the prompt", layout.prompt
    if guided:
        yield "the negative prompt", layout.negative_prompt
    for index, instance in enumerate(layout.instances):
        yield f"the prompt of instance {index}", instance.prompt
