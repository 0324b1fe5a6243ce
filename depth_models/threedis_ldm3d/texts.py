"""What the depth model reads: bare nouns, each embedded once.

Shapes: N_b instances of picture b; L text tokens of T channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from threedis_core.values.layout import Layout
from threedis_diffusers.quiet import quiet
from threedis_diffusers.unet.prompts import Text, instance_prompts
from threedis_ldm3d.loading import LoadedDepthPipeline


def encode_texts(loaded: LoadedDepthPipeline, texts: list[str]) -> Text:
    """The text encoder's hidden states, (texts, L, T); nouns repeat, so each is encoded once."""
    once, places = _once(texts)
    with quiet():  # the pipeline's warning of long prompts
        return Text(loaded.pipeline.encode_prompt(once, loaded.device, 1, False)[0][places])


def pooled_nouns(
    loaded: LoadedDepthPipeline, layouts: Sequence[Layout], repeat: bool
) -> list[Tensor]:
    """Per picture the text encoder's pooled embedding of each instance's prompt, shape (N_b, T).

    Args:
        loaded: The model.
        layouts: One per picture.
        repeat: See ``instance_prompts``.
    """
    pipeline, pooled = loaded.pipeline, list[Tensor]()
    for layout in layouts:
        texts = instance_prompts(layout, repeat)
        if not texts:
            pooled.append(torch.zeros(0, pipeline.text_encoder.config.hidden_size))
            continue
        once, places = _once(texts)
        tokens = pipeline.tokenizer(
            once,
            padding="max_length",
            max_length=pipeline.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        pooled.append(pipeline.text_encoder(tokens.to(loaded.device)).pooler_output[places])
    return pooled


def _once(texts: list[str]) -> tuple[list[str], list[int]]:
    """The texts without repetition, and where each of ``texts`` is among them."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return list(numbers), [numbers[text] for text in texts]
