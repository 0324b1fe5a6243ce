"""CLIP's cosines of pictures and texts, pair by pair.

P = number of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from threedis_transformers.loading import LoadedVisionModel


@torch.no_grad()
def cosines(
    loaded: LoadedVisionModel,
    pictures: Sequence[Image.Image],
    texts: Sequence[str],
    batch_size: int,
) -> list[float]:
    """The cosine of each picture, RGB, with its text, which is cut where it is too long."""
    found: list[float] = []
    for start in range(0, len(pictures), batch_size):
        part = slice(start, start + batch_size)
        seen, read = _seen(loaded, pictures[part]), _read(loaded, texts[part])
        loaded.check_finite(seen)
        loaded.check_finite(read)
        found += (normalize(seen, dim=1) * normalize(read, dim=1)).sum(dim=1).tolist()
    return found


def _seen(loaded: LoadedVisionModel, pictures: Sequence[Image.Image]) -> Tensor:
    """Embeddings of pictures, shape (P, any)."""
    pixels = loaded.processor(list(pictures), return_tensors="pt").pixel_values
    output = loaded.model.vision_model(pixel_values=pixels.to(loaded.device, loaded.dtype))
    return loaded.model.visual_projection(output.pooler_output).float()


def _read(loaded: LoadedVisionModel, texts: Sequence[str]) -> Tensor:
    """Embeddings of texts, shape (P, any); each alone, so that no padding is read."""
    rows: list[Tensor] = []
    for text in texts:
        longest = loaded.model.config.text_config.max_position_embeddings
        words = loaded.tokenizer(text, return_tensors="pt", truncation=True, max_length=longest).to(
            loaded.device
        )
        output = loaded.model.text_model(
            input_ids=words.input_ids, attention_mask=words.attention_mask
        )
        rows.append(loaded.model.text_projection(output.pooler_output)[0])
    return torch.stack(rows).float()
