"""What a training's work folder holds: pictures, their latents, text encoders, saved parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerBase,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Model,
    T5EncoderModel,
    T5TokenizerFast,
)

from threedis_core.errors import OptionError
from threedis_core.plugin.progress import Progress, silent
from threedis_pocket.training.data import Pictures, pictures, wild_pictures
from threedis_pocket.training.diffusion import encode_depth, encode_latents
from threedis_pocket.training.parts import load_part
from threedis_pocket.training.sets import LatentSet
from threedis_pocket.training.vae import load_vae
from threedis_train.engine import processes

PICTURES = 12288
WILD, SQUARE = 18432, 4096
"""Wild scenes, and square ones beside them, that the last trainings see."""
STUDENT_WILD, STUDENT_SQUARE = 6144, 2048
"""The same of the models that learn from pocket-flux."""


def train_pictures(work: Path, progress: Progress = silent) -> Pictures:
    """The training pictures, drawn once under ``work/data``."""
    with processes().main_process_first():
        return pictures(work / "data", "train", PICTURES, progress)


def square_set(work: Path, vae: str, progress: Progress = silent, depth: bool = False) -> LatentSet:
    """The training pictures as latents of the trained autoencoder ``vae``."""
    return _latents(work, vae, [train_pictures(work, progress)], progress, depth)[0]


def wild_sets(
    work: Path, vae: str, progress: Progress = silent, depth: bool = False
) -> list[LatentSet]:
    """Wild pictures of every size, and some of the square ones, likewise."""
    sets = _mixed_pictures(work, WILD, SQUARE, progress)
    return _latents(work, vae, sets, progress, depth)


def student_sets(work: Path, vae: AutoencoderKL, progress: Progress = silent) -> list[LatentSet]:
    """The fewer pictures that a student of a trained model needs, with depth latents.

    Square pictures come twice as often as their number says.
    """
    sets = student_pictures(work, progress)
    with processes().main_process_first():
        found = [
            LatentSet(one, encode_latents(vae, one, progress), encode_depth(vae, one, progress))
            for one in sets
        ]
    return [found[0], *found]


def student_pictures(work: Path, progress: Progress = silent) -> list[Pictures]:
    """The pictures of :func:`student_sets`."""
    return _mixed_pictures(work, STUDENT_WILD, STUDENT_SQUARE, progress)


def _mixed_pictures(work: Path, wild: int, square: int, progress: Progress) -> list[Pictures]:
    with processes().main_process_first():
        some = pictures(work / "data", "train", square, progress)
        return [some, *wild_pictures(work / "data", "train", wild, progress)]


def _latents(
    work: Path, name: str, sets: Sequence[Pictures], progress: Progress, depth: bool
) -> list[LatentSet]:
    """Latents of the pictures and, if wanted, of the depth maps; of these alone for a depth VAE."""
    vae = load_vae(work / name / "model")
    found = []
    with processes().main_process_first():
        for data in sets:
            maps = encode_depth(vae, data, progress) if depth or name == "depth-vae" else None
            own = maps if name == "depth-vae" else encode_latents(vae, data, progress)
            found.append(LatentSet(data, own, maps))
    return found


def load_text(work: Path) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """The trained CLIP text encoder and its tokenizer."""
    return (
        load_part(CLIPTextModel, work / "text" / "text_encoder"),
        CLIPTokenizer.from_pretrained(work / "text" / "tokenizer"),
    )


def load_openclip(work: Path) -> tuple[CLIPTextModelWithProjection, CLIPTokenizer]:
    """The trained OpenCLIP text encoder, whole, and its tokenizer."""
    return (
        load_part(CLIPTextModelWithProjection, work / "openclip" / "text_encoder"),
        CLIPTokenizer.from_pretrained(work / "openclip" / "tokenizer"),
    )


def load_t5(work: Path) -> tuple[T5EncoderModel, PreTrainedTokenizerBase]:
    """The trained T5 encoder and its tokenizer."""
    return (
        load_part(T5EncoderModel, work / "t5" / "text_encoder"),
        T5TokenizerFast.from_pretrained(work / "t5" / "tokenizer"),
    )


def load_qwen(work: Path) -> tuple[Qwen3Model, PreTrainedTokenizerBase]:
    """The trained Qwen3 and its tokenizer."""
    return (
        load_part(Qwen3Model, work / "qwen" / "text_encoder"),
        Qwen2Tokenizer.from_pretrained(work / "qwen" / "tokenizer"),
    )


def load_qwen_vl(
    work: Path,
) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerBase]:
    """The trained Qwen2.5-VL and its tokenizer."""
    return (
        load_part(Qwen2_5_VLForConditionalGeneration, work / "qwen-vl" / "text_encoder"),
        Qwen2Tokenizer.from_pretrained(work / "qwen-vl" / "tokenizer"),
    )


def require(work: Path, *parts: str) -> None:
    """See that trained parts are there.

    Raises:
        OptionError: One is not, and what to train.
    """
    for part in parts:
        if not (work / part).exists():
            recipe = part.split("/")[0]
            raise OptionError(
                f"{work / part} is not there; train it first: "
                f"threedis pocket train {recipe} --work {work}"
            )


def save_part(part: Any, folder: Path) -> Path:
    """Save a model or tokenizer once, whatever the number of processes."""
    if processes().is_main_process:
        part.save_pretrained(folder)
    processes().wait_for_everyone()
    return folder
