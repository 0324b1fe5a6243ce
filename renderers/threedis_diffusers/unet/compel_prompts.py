"""Prompts in compel's syntax: words with weights, and texts longer than the model's window.

compel hands out embeddings, as the hook needs them, a row for each prompt; it is kept up, and is an
ordinary package. Texts longer than the window become several windows, one after another, so rows
may differ in length; see ``prompts.same_length``.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import torch

from threedis_core.errors import LayoutError, OptionError
from threedis_core.values.problems import shown
from threedis_diffusers.unet.prompts import Text


def require_compel() -> None:
    """See that compel is installed.

    Raises:
        OptionError: It is not.
    """
    if find_spec("compel") is None:
        hint = "pip install 'threedis[prompts]'"
        raise OptionError(
            f"prompt_syntax=compel needs the package compel; install it: {hint}",
            code="package-missing",
            path="prompt_syntax",
            hint=hint,
        )


def check_syntax(named: Iterable[tuple[str, str]]) -> None:
    """See that compel can read prompts.

    Args:
        named: What each prompt is called, and the prompt.
    Raises:
        LayoutError: One that it cannot, or that asks for what a row of text cannot be.
    """
    from compel import Compel

    for name, prompt in named:
        try:
            parsed = Compel.parse_prompt_string(prompt)
        except Exception as error:  # its parser raises whatever pyparsing does
            reason = " ".join(str(error).split())[:200]
            raise LayoutError(
                f"{name} ({shown(prompt)}) is not in compel's syntax: {reason}; correct it, write "
                "a bracket that is meant as one with a backslash before it, or set "
                "prompt_syntax=plain"
            ) from error
        if any(getattr(part, "wants_cross_attention_control", False) for part in parsed.prompts):
            raise LayoutError(
                f"{name} ({shown(prompt)}) has .swap(), which needs an attention of its own, so it "
                "does not go together with the hook; leave it out"
            )


def compel_text(pipeline: Any, texts: list[str], device: torch.device) -> Text:
    """Embed texts in compel's syntax; all are as long as the longest one.

    Args:
        pipeline: Whose tokenizers and text encoders read.
        texts: The texts.
        device: Where the text encoders compute.
    """
    from compel import CompelForSD, CompelForSDXL, DiffusersTextualInversionManager

    kind = CompelForSDXL if getattr(pipeline, "text_encoder_2", None) is not None else CompelForSD
    embeddings = DiffusersTextualInversionManager(pipeline)
    read = kind(pipeline, textual_inversion_manager=embeddings, device=str(device))(texts)
    dtype = pipeline.text_encoder.dtype
    pooled = None if read.pooled_embeds is None else read.pooled_embeds.to(dtype)
    return Text(read.embeds.to(dtype), pooled)
