"""Notice numbers that are none (NaN, infinity) where they first appear, not as a black picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from threedis_core.errors import RenderError
from threedis_diffusers.model_files.checks import TEXT_ENCODERS

FIXED_VAE = "madebyollin/sdxl-vae-fp16-fix"
DENOISERS = {"unet": "U-Net", "transformer": "transformer"}


@contextmanager
def finite_stages(pipeline: Any) -> Iterator[None]:
    """Look at what each stage of a pipeline makes, while inside: texts, latents, the picture.

    Raises:
        RenderError: It is not finite; the line names the stage and what to try.
    """
    with ExitStack() as stack:
        for name in TEXT_ENCODERS:
            encoder = getattr(pipeline, name, None)
            if isinstance(encoder, nn.Module):
                _watch_output(stack, encoder, f"the {name}")
        decoder = getattr(getattr(pipeline, "vae", None), "decoder", None)
        if isinstance(decoder, nn.Module):
            names = [name for part, name in DENOISERS.items() if hasattr(pipeline, part)]
            denoiser = names[0] if names else "model"

            def latents(module: nn.Module, args: tuple[Any, ...]) -> None:
                _check(args[0], f"the {denoiser}")

            stack.callback(decoder.register_forward_pre_hook(latents).remove)
            _watch_output(stack, decoder, "the VAE")
        yield


def _watch_output(stack: ExitStack, module: nn.Module, stage: str) -> None:
    def look(module: nn.Module, args: Any, output: Any) -> None:
        _check(output if isinstance(output, Tensor) else output[0], stage)

    stack.callback(module.register_forward_hook(look).remove)


def _check(values: Any, stage: str) -> None:
    if not isinstance(values, Tensor) or values.isfinite().all():
        return
    advice = _advice(stage, values.dtype)
    dtype = str(values.dtype).removeprefix("torch.")
    raise RenderError(
        f"{stage} makes numbers that are not finite in dtype {dtype}, which would be a black "
        f"picture; {advice}",
        hint=advice,
    )


def _advice(stage: str, dtype: torch.dtype) -> str:
    if dtype == torch.float16 and "VAE" in stage:
        return f"set vae={FIXED_VAE} (sdxl), or dtype=bfloat16 or dtype=float32"
    if dtype == torch.float16:
        return "use dtype=bfloat16 or dtype=float32"
    if dtype == torch.bfloat16:
        return "use dtype=float32"
    return "its weights, or a LoRA's, are damaged or do not fit: leave loras out, or get them again"
