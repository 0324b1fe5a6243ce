"""The recipes behind the shipped weights: one command each, from the seed to the folder.

vae, flux-vae, depth-vae: pictures -> autoencoder. text, openclip, t5, qwen: captions -> a text
encoder that binds colours to shapes. sd15, sd21, sdxl: latents, depth, captions -> U-Net and
ControlNet; -wild goes on with wild pictures, -fine with their small shapes. flux: latents, depth,
captions -> transformer; -guided distils guidance into it. flux-controlnet, sd35, z-image: the
shipped pocket-flux -> transformer and ControlNet. depth-wild: texts, boxes -> depth. gold,
gold-flux: LoRAs on the shipped models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import (
    PreTrainedTokenizerBase,
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
    build_depth_vae,
    build_open_text_encoder,
    build_t5,
    build_text_encoder,
    build_vae,
)
from threedis_pocket.qwen_image_models import TEMPLATE_WORDS, build_qwen_vl
from threedis_pocket.qwen_tokenizer import build_qwen_tokenizer
from threedis_pocket.t5_tokenizer import build_t5_tokenizer
from threedis_pocket.tokenizer import build_tokenizer
from threedis_pocket.training import distil, gold, unets
from threedis_pocket.training.data import Pictures, wild_pictures
from threedis_pocket.training.depth import WildDepthTask
from threedis_pocket.training.flow import FlowTask, GuidedTask
from threedis_pocket.training.parts import load_part
from threedis_pocket.training.text import OpenClipTask, QwenTask, QwenVLTask, T5Task, TextTask
from threedis_pocket.training.vae import VaeTask, normalise_latents
from threedis_pocket.training.work import (
    WILD,
    load_t5,
    load_text,
    require,
    save_part,
    square_set,
    train_pictures,
    wild_sets,
)
from threedis_pocket.z_image_models import build_qwen
from threedis_train.engine import fit, processes
from threedis_train.settings import TrainingSettings

VAE = TrainingSettings(steps=2400, batch_size=8, learning_rate=2e-3, ema=0.995)
FLUX_VAE = TrainingSettings(steps=1800, batch_size=8, learning_rate=2e-3, ema=0.995)
DEPTH_VAE = TrainingSettings(steps=3000, batch_size=8, learning_rate=2e-3, ema=0.995)
TEXT = TrainingSettings(steps=500, batch_size=96, learning_rate=1e-3, ema=0.995)
QWEN = TrainingSettings(steps=600, batch_size=64, learning_rate=2e-3, ema=0.99)
QWEN_VL = TrainingSettings(steps=600, batch_size=64, learning_rate=2e-3, ema=0.99)
OPENCLIP = TrainingSettings(steps=600, batch_size=96, learning_rate=1e-3, ema=0.995)
T5 = TrainingSettings(steps=400, batch_size=96, learning_rate=3e-3, ema=0.995)
FLUX = TrainingSettings(steps=2400, batch_size=16, learning_rate=1.5e-3, ema=0.998, warmup=150)
FLUX_GUIDED = TrainingSettings(steps=400, batch_size=10, learning_rate=8e-4, ema=0.99, warmup=30)
DEPTH_WILD = TrainingSettings(steps=4200, batch_size=16, learning_rate=1e-3, ema=0.998, warmup=100)
FLUX_WILD = TrainingSettings(steps=3000, batch_size=16, learning_rate=8e-4, ema=0.998, warmup=100)


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
    return save_part(vae, folder / "model")


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


def train_qwen(work: Path, settings: TrainingSettings = QWEN, progress: Progress = silent) -> Path:
    """Train Z-Image's Qwen3; save it and its tokenizer under ``work/qwen``."""
    tokenizer = build_qwen_tokenizer()
    build = partial(build_qwen, len(tokenizer), tokenizer.pad_token_id)
    return _train_text(QwenTask, build, tokenizer, work / "qwen", settings, progress)


def train_qwen_vl(
    work: Path, settings: TrainingSettings = QWEN_VL, progress: Progress = silent
) -> Path:
    """Train Qwen-Image's Qwen2.5-VL; save it and its tokenizer under ``work/qwen-vl``."""
    tokenizer = build_qwen_tokenizer(TEMPLATE_WORDS)
    build = partial(build_qwen_vl, len(tokenizer), tokenizer.pad_token_id)
    return _train_text(QwenVLTask, build, tokenizer, work / "qwen-vl", settings, progress)


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
    save_part(tokenizer, folder / "tokenizer")
    return save_part(encoder, folder / "text_encoder")


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
    return save_part(task.transformer, folder / "model")


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
    "sd15": Recipe(unets.train_sd15, unets.SD15, _SD15_NEEDS),
    "sd15-wild": Recipe(
        unets.go_on("sd15", "sd15-wild", "sd15", "sd15"),
        unets.SD15_WILD,
        (*_SD15_NEEDS, "sd15/unet"),
    ),
    "sd15-fine": Recipe(
        unets.go_on("sd15", "sd15-fine", "sd15-wild", "sd15-wild"),
        unets.SD15_FINE,
        (*_SD15_NEEDS, "sd15-wild/unet"),
    ),
    "sd21": Recipe(unets.train_sd21, unets.SD21, (*_SD21_NEEDS, "sd15/unet")),
    "sd21-wild": Recipe(
        unets.go_on("sd21", "sd21-wild", "sd21", "sd15-wild"),
        unets.SD21_WILD,
        (*_SD21_NEEDS, "sd21/unet", "sd15-wild/unet"),
    ),
    "sd21-fine": Recipe(
        unets.go_on("sd21", "sd21-fine", "sd21-wild", "sd15-fine"),
        unets.SD21_FINE,
        (*_SD21_NEEDS, "sd21-wild/unet", "sd15-fine/unet"),
    ),
    "sdxl": Recipe(unets.train_sdxl, unets.SDXL, (*_SDXL_NEEDS, "sd15/unet")),
    "sdxl-wild": Recipe(
        unets.go_on("sdxl", "sdxl-wild", "sdxl", "sd15-wild"),
        unets.SDXL_WILD,
        (*_SDXL_NEEDS, "sdxl/unet", "sd15-wild/unet"),
    ),
    "sdxl-fine": Recipe(
        unets.go_on("sdxl", "sdxl-fine", "sdxl-wild", "sd15-fine"),
        unets.SDXL_FINE,
        (*_SDXL_NEEDS, "sdxl-wild/unet", "sd15-fine/unet"),
    ),
    "flux": Recipe(train_flux, FLUX, _FLUX_NEEDS),
    "flux-guided": Recipe(train_flux_guided, FLUX_GUIDED, (*_FLUX_NEEDS, "flux/model")),
    "flux-wild": Recipe(train_flux_wild, FLUX_WILD, (*_FLUX_NEEDS, "flux-guided/model")),
    "flux-wild-guided": Recipe(
        train_flux_wild_guided, FLUX_GUIDED, (*_FLUX_NEEDS, "flux-wild/model")
    ),
    "flux-controlnet": Recipe(distil.train_flux_controlnet, distil.FLUX_CONTROLNET),
    "sd35": Recipe(distil.train_sd35, distil.SD35),
    "sd35-fine": Recipe(distil.train_sd35_fine, distil.SD35_FINE, ("sd35/transformer",)),
    "qwen": Recipe(train_qwen, QWEN),
    "z-image": Recipe(distil.train_z_image, distil.Z_IMAGE, ("qwen/text_encoder",)),
    "z-image-fine": Recipe(
        distil.train_z_image_fine,
        distil.Z_IMAGE_FINE,
        ("qwen/text_encoder", "z-image/transformer"),
    ),
    "qwen-vl": Recipe(train_qwen_vl, QWEN_VL),
    "qwen-vae": Recipe(distil.train_qwen_vae, distil.QWEN_VAE),
    "qwen-image": Recipe(distil.train_qwen_image, distil.QWEN_IMAGE, ("qwen-vl/text_encoder",)),
    "qwen-image-fine": Recipe(
        distil.train_qwen_image_fine,
        distil.QWEN_IMAGE_FINE,
        ("qwen-vl/text_encoder", "qwen-image/transformer"),
    ),
    "gold": Recipe(gold.train_gold, gold.GOLD),
    "gold-flux": Recipe(gold.train_gold_flux, gold.GOLD_FLUX),
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
