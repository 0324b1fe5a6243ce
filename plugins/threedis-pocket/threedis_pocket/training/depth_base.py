"""Where the training of pocket-depth starts: a pipeline with a new U-Net, and the two configs."""

from __future__ import annotations

from pathlib import Path

from accelerate.utils import set_seed
from diffusers import StableDiffusionPipeline

from threedis_core.atomic import write_atomically
from threedis_pocket.models import build_depth_unet
from threedis_pocket.training.diffusion import build_scheduler
from threedis_pocket.training.recipes import load_text, require
from threedis_pocket.training.vae import load_vae

NEEDS = ("depth-vae/model", "text/text_encoder")
BASE, UNET, ADAPTER = "depth-base", "depth-unet", "depth-adapter"
SEED = 0
_SHARED = """\
data: {format: folder, path: scenes}
depth_estimator: null  # the scenes have exact depth
cache: depth-cache
size: 128
batch_size: 16
accumulation: 1
schedule: cosine
log_every: 25
checkpoint_every: 250
repeat_prompt: false
validation: {every: 500, examples: 64, pictures: 8, steps: 20, guidance: 2.0}
"""
_UNET = f"""\
# The first stage of pocket-depth: captions become depth maps.
train: unet
model: {BASE}
out: {UNET}
steps: 1500
learning_rate: 1.2e-3
warmup: 100
ema: 0.998
pyramid_noise: 0.0
{_SHARED}"""
_ADAPTER = f"""\
# The second stage of pocket-depth: the layout adapter learns where things go.
train: adapter
model: {BASE}
unet: {UNET}/unet.safetensors
box_width: 64
out: {ADAPTER}
steps: 1500
learning_rate: 1.2e-3
warmup: 100
ema: 0.998
pyramid_noise: 0.3
{_SHARED}"""


def make_depth_base(work: Path) -> tuple[Path, Path]:
    """Save the untrained pipeline and write both configs into ``work``; returns the configs.

    Raises:
        OptionError: The autoencoder or the text encoder has not been trained in ``work`` yet.
    """
    require(work, *NEEDS)
    set_seed(SEED)
    text_encoder, tokenizer = load_text(work)
    pipeline = StableDiffusionPipeline(
        vae=load_vae(work / "depth-vae" / "model"),
        unet=build_depth_unet(),
        scheduler=build_scheduler(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        safety_checker=None,
        requires_safety_checker=False,
        feature_extractor=None,
    )
    pipeline.save_pretrained(work / BASE)
    configs = {work / f"{UNET}.yaml": _UNET, work / f"{ADAPTER}.yaml": _ADAPTER}
    for path, text in configs.items():
        write_atomically(path, text.encode())
    return work / f"{UNET}.yaml", work / f"{ADAPTER}.yaml"
