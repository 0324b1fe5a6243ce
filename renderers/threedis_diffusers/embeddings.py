"""Textual inversion: words that stand for learned embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safetensors.torch import load_file

from threedis_core.errors import WeightsError
from threedis_diffusers.loras import LoRAFile
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.quiet import quiet
from threedis_diffusers.readable import readable

SECOND = {"clip_l": "", "clip_g": "_2"}
"""Of a file for two text encoders: which part is for which."""


def load_embeddings(pipeline: Any, files: Mapping[str, LoRAFile]) -> None:
    """Teach words to a pipeline's tokenizers and text encoders.

    Args:
        pipeline: A Stable Diffusion pipeline.
        files: Where each word's embedding is.
    Raises:
        WeightsError: A file is damaged or does not fit the model.
    """
    for word, found in files.items():
        source = ModelSource(found.folder)
        file = source.get(found.file)
        with readable(source), quiet():
            if getattr(pipeline, "text_encoder_2", None) is None:
                pipeline.load_textual_inversion(str(file), token=word)
                continue
            parts = load_file(file)
            if set(parts) != set(SECOND):
                raise WeightsError(
                    f"embedding '{found.file}' holds {', '.join(sorted(parts))}; expected clip_l "
                    "and clip_g: name one that was made for SDXL"
                )
            for part, ending in SECOND.items():
                pipeline.load_textual_inversion(
                    parts[part],
                    token=word,
                    text_encoder=getattr(pipeline, f"text_encoder{ending}"),
                    tokenizer=getattr(pipeline, f"tokenizer{ending}"),
                )
