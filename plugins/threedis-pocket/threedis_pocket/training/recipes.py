"""The recipes behind the shipped weights: one command each, from the seed to the folder.

vae, flux-vae, depth-vae: pictures -> autoencoder. text, openclip, t5: captions -> a text encoder
that binds colours to shapes. sd15, sd21, sdxl: latents, depth, captions -> U-Net and ControlNet.
flux: latents, depth, captions -> transformer; flux-guided: distils guidance into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from diffusers import AutoencoderKL, ControlNetModel, FluxTransformer2DModel, UNet2DConditionModel
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerBase,
    T5EncoderModel,
    T5TokenizerFast,
)

from threedis_core.errors import OptionError
from threedis_core.plugin.options import validate_options
from threedis_core.plugin.progress import Progress, silent
from threedis_diffusers.weight_files import save_weights
from threedis_ldm3d.checkpoint import save_adapter
from threedis_ldm3d.checks import find_model
from threedis_ldm3d.options import LDM3DOptions
from threedis_ldm3d.training.train import ADAPTER_FILE, UNET_FILE
from threedis_pocket.flux_models import build_flux_transformer, build_flux_vae
from threedis_pocket.models import (
    build_controlnet,
    build_depth_vae,
    build_open_text_encoder,
    build_sd21_unet,
    build_sdxl_unet,
    build_t5,
    build_text_encoder,
    build_unet,
    build_vae,
    penultimate,
    start_from,
)
from threedis_pocket.t5_tokenizer import build_t5_tokenizer
from threedis_pocket.tokenizer import build_tokenizer
from threedis_pocket.training.data import Pictures, pictures, wild_pictures
from threedis_pocket.training.depth import WildDepthTask
from threedis_pocket.training.diffusion import (
    DiffusionTask,
    SDXLTask,
    encode_depth,
    encode_latents,
)
from threedis_pocket.training.flow import FlowTask, GuidedTask
from threedis_pocket.training.parts import load_part
from threedis_pocket.training.sets import LatentSet
from threedis_pocket.training.text import OpenClipTask, T5Task, TextTask
from threedis_pocket.training.vae import VaeTask, load_vae, normalise_latents
from threedis_train.engine import fit, processes
from threedis_train.settings import TrainingSettings

PICTURES = 12288
WILD, SQUARE = 18432, 4096
"""Wild scenes, and square ones beside them, that the last trainings see."""
VAE = TrainingSettings(steps=2400, batch_size=8, learning_rate=2e-3, ema=0.995)
FLUX_VAE = TrainingSettings(steps=1800, batch_size=8, learning_rate=2e-3, ema=0.995)
DEPTH_VAE = TrainingSettings(steps=3000, batch_size=8, learning_rate=2e-3, ema=0.995)
TEXT = TrainingSettings(steps=500, batch_size=96, learning_rate=1e-3, ema=0.995)
OPENCLIP = TrainingSettings(steps=600, batch_size=96, learning_rate=1e-3, ema=0.995)
T5 = TrainingSettings(steps=400, batch_size=96, learning_rate=3e-3, ema=0.995)
SD21 = TrainingSettings(steps=600, batch_size=16, learning_rate=1.2e-3, ema=0.995, warmup=50)
SDXL = TrainingSettings(steps=450, batch_size=16, learning_rate=1.2e-3, ema=0.995, warmup=50)
FLUX = TrainingSettings(steps=2400, batch_size=16, learning_rate=1.5e-3, ema=0.998, warmup=150)
FLUX_GUIDED = TrainingSettings(steps=400, batch_size=10, learning_rate=8e-4, ema=0.99, warmup=30)
DEPTH_WILD = TrainingSettings(steps=4200, batch_size=16, learning_rate=1e-3, ema=0.998, warmup=100)
SD15_WILD = TrainingSettings(steps=3600, batch_size=16, learning_rate=7e-4, ema=0.998, warmup=100)
SD21_WILD = TrainingSettings(steps=900, batch_size=16, learning_rate=7e-4, ema=0.995, warmup=50)
SDXL_WILD = TrainingSettings(steps=900, batch_size=16, learning_rate=7e-4, ema=0.995, warmup=50)
FLUX_WILD = TrainingSettings(steps=3000, batch_size=16, learning_rate=8e-4, ema=0.998, warmup=100)
SD15 = TrainingSettings(steps=3600, batch_size=16, learning_rate=1.2e-3, ema=0.998, warmup=200)


def train_pictures(work: Path, progress: Progress = silent) -> Pictures:
    """The training pictures, drawn once under ``work/data``."""
    with processes().main_process_first():
        return pictures(work / "data", "train", PICTURES, progress)


def train_vae(work: Path, settings: TrainingSettings = VAE, progress: Progress = silent) -> Path:
    """Train the U-Nets' autoencoder; save it as ``work/vae/model``."""
    data = train_pictures(work, progress)
    return _train_vae(build_vae, 0.0, [data], work / "vae", settings, progress)


def train_flux_vae(
    work: Path, settings: TrainingSettings = FLUX_VAE, progress: Progress = silent
) -> Path:
    """Train FLUX's autoencoder on pictures and depth maps; save it as ``work/flux-vae/model``."""
    data = train_pictures(work, progress)
    return _train_vae(build_flux_vae, 0.2, [data], work / "flux-vae", settings, progress)


def train_depth_vae(
    work: Path, settings: TrainingSettings = DEPTH_VAE, progress: Progress = silent
) -> Path:
    """Train the depth model's autoencoder on wild depth maps; save it as ``work/depth-vae/model``.

    Crops lie around objects: small ones before a far wall are what it loses first.
    """
    with processes().main_process_first():
        drawn = wild_pictures(work / "data", "train", WILD, progress)
    sets = [replace(one, rgb=one.depth[..., None]) for one in drawn]  # pictures of one channel
    return _train_vae(build_depth_vae, 0.0, sets, work / "depth-vae", settings, progress, True)


def _train_vae(
    build: Callable[[], AutoencoderKL],
    depth_share: float,
    sets: Sequence[Pictures],
    folder: Path,
    settings: TrainingSettings,
    progress: Progress,
    around: bool = False,
) -> Path:
    """Train an autoencoder and normalise its latents."""
    set_seed(settings.seed)
    vae = build()
    fit(VaeTask(vae, sets, depth_share, around), settings, folder, progress)
    normalise_latents(vae, sets[0])
    return _save(vae, folder / "model")


def train_text(work: Path, settings: TrainingSettings = TEXT, progress: Progress = silent) -> Path:
    """Train CLIP's text encoder; save it and its tokenizer under ``work/text``."""
    tokenizer = build_tokenizer()
    ids = len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id
    build = partial(build_text_encoder, *ids)
    return _train_text(TextTask, build, tokenizer, work / "text", settings, progress)


def train_openclip(
    work: Path, settings: TrainingSettings = OPENCLIP, progress: Progress = silent
) -> Path:
    """Train the text encoder of SD2.1 and SDXL; save it as ``work/openclip/text_encoder``."""
    tokenizer = build_tokenizer()
    ids = len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id
    build = partial(build_open_text_encoder, *ids)
    return _train_text(OpenClipTask, build, tokenizer, work / "openclip", settings, progress)


def train_t5(work: Path, settings: TrainingSettings = T5, progress: Progress = silent) -> Path:
    """Train FLUX's T5; save it and its tokenizer under ``work/t5``."""
    tokenizer = build_t5_tokenizer()
    build = partial(build_t5, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    return _train_text(T5Task, build, tokenizer, work / "t5", settings, progress)


def _train_text(
    task: type[TextTask],
    build: Callable[[], Any],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    settings: TrainingSettings,
    progress: Progress,
) -> Path:
    """Train a text encoder; save it beside its tokenizer."""
    set_seed(settings.seed)
    encoder = build()
    fit(task(encoder, tokenizer), settings, folder, progress)
    _save(tokenizer, folder / "tokenizer")
    return _save(encoder, folder / "text_encoder")


def train_sd15(work: Path, settings: TrainingSettings = SD15, progress: Progress = silent) -> Path:
    """Train U-Net and ControlNet together on the VAE's latents; save both under ``work/sd15``."""

    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        unet = build_unet()
        return DiffusionTask(unet, build_controlnet(unet), *load_text(work), sets)

    return _train_unet(task, work, "sd15", settings, progress)


def train_sd21(work: Path, settings: TrainingSettings = SD21, progress: Progress = silent) -> Path:
    """The same for SD2.1, from SD1.5's weights where they fit; save both under ``work/sd21``."""

    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        unet, controlnet = _from_sd15(build_sd21_unet(), work)
        encoder, tokenizer = load_openclip(work)
        return DiffusionTask(unet, controlnet, penultimate(encoder), tokenizer, sets)

    return _train_unet(task, work, "sd21", settings, progress)


def train_sdxl(work: Path, settings: TrainingSettings = SDXL, progress: Progress = silent) -> Path:
    """The same for SDXL, from SD1.5's weights where they fit; save both under ``work/sdxl``."""

    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        unet, controlnet = _from_sd15(build_sdxl_unet(), work)
        encoder, tokenizer = load_text(work)
        encoder_2, _ = load_openclip(work)
        return SDXLTask(unet, controlnet, encoder, encoder_2, tokenizer, sets)

    return _train_unet(task, work, "sdxl", settings, progress)


def _train_unet(
    make_task: Callable[[Sequence[LatentSet]], DiffusionTask],
    work: Path,
    name: str,
    settings: TrainingSettings,
    progress: Progress,
    sets: Sequence[LatentSet] | None = None,
) -> Path:
    sets = sets or [square_set(work, "vae", progress)]
    set_seed(settings.seed)
    task = make_task(sets)
    fit(task, settings, work / name, progress)
    _save(task.controlnet, work / name / "controlnet")
    return _save(task.unet, work / name / "unet")


def square_set(work: Path, vae: str, progress: Progress = silent, depth: bool = False) -> LatentSet:
    """The training pictures as latents of the trained autoencoder ``vae``."""
    return _latents(work, vae, [train_pictures(work, progress)], progress, depth)[0]


def wild_sets(
    work: Path, vae: str, progress: Progress = silent, depth: bool = False
) -> list[LatentSet]:
    """Wild pictures of every size, and some of the square ones, likewise."""
    with processes().main_process_first():
        some = pictures(work / "data", "train", SQUARE, progress)
        sets = [some, *wild_pictures(work / "data", "train", WILD, progress)]
    return _latents(work, vae, sets, progress, depth)


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


def train_sd15_wild(
    work: Path, settings: TrainingSettings = SD15_WILD, progress: Progress = silent
) -> Path:
    """SD1.5's U-Net and ControlNet go on with wild pictures; saved under ``work/sd15-wild``."""

    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        return DiffusionTask(*_trained(work, "sd15"), *load_text(work), sets, wild=True)

    sets = wild_sets(work, "vae", progress)
    return _train_unet(task, work, "sd15-wild", settings, progress, sets)


def train_sd21_wild(
    work: Path, settings: TrainingSettings = SD21_WILD, progress: Progress = silent
) -> Path:
    """The same for SD2.1, from SD1.5's but for what reads the text, which is its own."""

    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        parts = _with_body_of(*_trained(work, "sd21"), *_trained(work, "sd15-wild"))
        encoder, tokenizer = load_openclip(work)
        return DiffusionTask(*parts, penultimate(encoder), tokenizer, sets, wild=True)

    sets = wild_sets(work, "vae", progress)
    return _train_unet(task, work, "sd21-wild", settings, progress, sets)


def train_sdxl_wild(
    work: Path, settings: TrainingSettings = SDXL_WILD, progress: Progress = silent
) -> Path:
    """The same for SDXL."""

    def task(sets: Sequence[LatentSet]) -> DiffusionTask:
        parts = _with_body_of(*_trained(work, "sdxl"), *_trained(work, "sd15-wild"))
        encoder, tokenizer = load_text(work)
        encoder_2, _ = load_openclip(work)
        return SDXLTask(*parts, encoder, encoder_2, tokenizer, sets, wild=True)

    sets = wild_sets(work, "vae", progress)
    return _train_unet(task, work, "sdxl-wild", settings, progress, sets)


def _with_body_of(
    unet: UNet2DConditionModel,
    controlnet: ControlNetModel,
    donor: UNet2DConditionModel,
    controlnet_donor: ControlNetModel,
) -> tuple[UNet2DConditionModel, ControlNetModel]:
    """A family's own models with a donor's weights where they fit; its text layers stay."""
    start_from(unet, donor, fresh=False)
    start_from(controlnet, controlnet_donor, fresh=False)
    return unet, controlnet


def _trained(work: Path, name: str) -> tuple[UNet2DConditionModel, ControlNetModel]:
    """A recipe's U-Net and ControlNet."""
    folder = work / name
    return (
        load_part(UNet2DConditionModel, folder / "unet"),
        load_part(ControlNetModel, folder / "controlnet"),
    )


def _from_sd15(
    unet: UNet2DConditionModel, work: Path
) -> tuple[UNet2DConditionModel, ControlNetModel]:
    """``unet`` and its ControlNet, both started from the trained SD1.5's."""
    controlnet = build_controlnet(unet)
    donor = work / "sd15"
    start_from(unet, load_part(UNet2DConditionModel, donor / "unet"))
    start_from(controlnet, load_part(ControlNetModel, donor / "controlnet"))
    return unet, controlnet


def train_depth_wild(
    work: Path, settings: TrainingSettings = DEPTH_WILD, progress: Progress = silent
) -> Path:
    """pocket-depth's U-Net and adapter go on together; saved under ``work/depth-wild``."""
    for part in ("depth-base/model_index.json", "depth-unet-2", "depth-adapter-2"):
        if not (work / part).exists():
            raise OptionError(
                f"{work / part} is not there; make it first: threedis pocket depth-base --work "
                f"{work}, then threedis train layout-depth with each config that it prints"
            )
    sets = wild_sets(work, "depth-vae", progress)
    base = str(work / "depth-base")
    options = LDM3DOptions(
        model=base,
        unet=str(work / "depth-unet-2" / UNET_FILE),
        adapter=str(work / "depth-adapter-2" / ADAPTER_FILE),
        scheduler=None,
        repeat_prompt=False,
        dtype="float32",
    )
    set_seed(settings.seed)
    task = WildDepthTask(find_model(options).load(), options, sets)
    folder = work / "depth-wild"
    fit(task, settings, folder, progress)
    if processes().is_main_process:
        save_weights(task.unet.state_dict(), folder / UNET_FILE, {})
        save_adapter(task.adapter, folder / ADAPTER_FILE)
    processes().wait_for_everyone()
    return folder


def train_flux(work: Path, settings: TrainingSettings = FLUX, progress: Progress = silent) -> Path:
    """Train FLUX's transformer on its VAE's latents and depth; save it as ``work/flux/model``."""
    sets = [square_set(work, "flux-vae", progress, depth=True)]
    set_seed(settings.seed)
    task = FlowTask(build_flux_transformer(), load_text(work), load_t5(work), sets)
    return _train_flow(task, work / "flux", settings, progress)


def train_flux_guided(
    work: Path, settings: TrainingSettings = FLUX_GUIDED, progress: Progress = silent
) -> Path:
    """Distil guidance into the trained transformer; save it as ``work/flux-guided/model``."""
    sets = [square_set(work, "flux-vae", progress, depth=True)]
    set_seed(settings.seed)
    task = GuidedTask(*_twice(work / "flux"), load_text(work), load_t5(work), sets)
    return _train_flow(task, work / "flux-guided", settings, progress)


def train_flux_wild(
    work: Path, settings: TrainingSettings = FLUX_WILD, progress: Progress = silent
) -> Path:
    """The guided transformer goes on with wild pictures; saved as ``work/flux-wild/model``.

    Guidance loses its meaning on the way: ``flux-wild-guided`` gives it back.
    """
    sets = wild_sets(work, "flux-vae", progress, depth=True)
    set_seed(settings.seed)
    transformer = load_part(FluxTransformer2DModel, work / "flux-guided" / "model")
    task = FlowTask(transformer, load_text(work), load_t5(work), sets, wild=True)
    return _train_flow(task, work / "flux-wild", settings, progress)


def train_flux_wild_guided(
    work: Path, settings: TrainingSettings = FLUX_GUIDED, progress: Progress = silent
) -> Path:
    """Distil guidance into that one; save it as ``work/flux-wild-guided/model``."""
    sets = wild_sets(work, "flux-vae", progress, depth=True)
    set_seed(settings.seed)
    teacher, student = _twice(work / "flux-wild")
    task = GuidedTask(teacher, student, load_text(work), load_t5(work), sets, wild=True)
    return _train_flow(task, work / "flux-wild-guided", settings, progress)


def _twice(folder: Path) -> tuple[FluxTransformer2DModel, FluxTransformer2DModel]:
    """The trained transformer as teacher and as student."""
    one, other = (load_part(FluxTransformer2DModel, folder / "model") for _ in range(2))
    return one, other


def _train_flow(
    task: FlowTask, folder: Path, settings: TrainingSettings, progress: Progress
) -> Path:
    fit(task, settings, folder, progress)
    return _save(task.transformer, folder / "model")


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


@dataclass(frozen=True)
class Recipe:
    """How one part is trained.

    Args:
        train: Called with the work folder, the settings and a progress callback.
        settings: The shipped weights' own.
        needs: Trained parts that must be in the work folder.
    """

    train: Callable[[Path, TrainingSettings, Progress], Path]
    settings: TrainingSettings
    needs: tuple[str, ...] = ()


_SD15_NEEDS = ("vae/model", "text/text_encoder")
_SD21_NEEDS = ("vae/model", "openclip/text_encoder")
_SDXL_NEEDS = ("vae/model", "text/text_encoder", "openclip/text_encoder")
_FLUX_NEEDS = ("flux-vae/model", "text/text_encoder", "t5/text_encoder")
RECIPES: dict[str, Recipe] = {
    "vae": Recipe(train_vae, VAE),
    "text": Recipe(train_text, TEXT),
    "openclip": Recipe(train_openclip, OPENCLIP),
    "t5": Recipe(train_t5, T5),
    "flux-vae": Recipe(train_flux_vae, FLUX_VAE),
    "depth-vae": Recipe(train_depth_vae, DEPTH_VAE),
    "depth-wild": Recipe(train_depth_wild, DEPTH_WILD, ("depth-vae/model", "text/text_encoder")),
    "sd15": Recipe(train_sd15, SD15, _SD15_NEEDS),
    "sd15-wild": Recipe(train_sd15_wild, SD15_WILD, (*_SD15_NEEDS, "sd15/unet")),
    "sd21": Recipe(train_sd21, SD21, (*_SD21_NEEDS, "sd15/unet")),
    "sd21-wild": Recipe(train_sd21_wild, SD21_WILD, (*_SD21_NEEDS, "sd21/unet", "sd15-wild/unet")),
    "sdxl": Recipe(train_sdxl, SDXL, (*_SDXL_NEEDS, "sd15/unet")),
    "sdxl-wild": Recipe(train_sdxl_wild, SDXL_WILD, (*_SDXL_NEEDS, "sdxl/unet", "sd15-wild/unet")),
    "flux": Recipe(train_flux, FLUX, _FLUX_NEEDS),
    "flux-guided": Recipe(train_flux_guided, FLUX_GUIDED, (*_FLUX_NEEDS, "flux/model")),
    "flux-wild": Recipe(train_flux_wild, FLUX_WILD, (*_FLUX_NEEDS, "flux-guided/model")),
    "flux-wild-guided": Recipe(
        train_flux_wild_guided, FLUX_GUIDED, (*_FLUX_NEEDS, "flux-wild/model")
    ),
}
"""Every recipe by name, each after those it needs."""


def run_recipe(
    name: str,
    work: Path,
    *,
    steps: int | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> Path:
    """Train one model by its recipe's name; ``steps`` and ``seed`` override the recipe's.

    Raises:
        OptionError: A model that this one builds on has not been trained in ``work`` yet, or a
            setting does not fit.
    """
    recipe = RECIPES[name]
    require(work, *recipe.needs)
    changes = {k: v for k, v in {"steps": steps, "seed": seed}.items() if v is not None}
    told = {**recipe.settings.model_dump(), **changes}
    settings = validate_options(TrainingSettings, told, f"recipe '{name}'")
    return recipe.train(work, settings, progress)


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


def _save(part: Any, folder: Path) -> Path:
    """Save a model or tokenizer once, whatever the number of processes."""
    if processes().is_main_process:
        part.save_pretrained(folder)
    processes().wait_for_everyone()
    return folder
