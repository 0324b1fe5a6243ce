"""Where the training of pocket-depth starts: a pipeline with a new U-Net, and the configs."""

from __future__ import annotations

from pathlib import Path

from accelerate.utils import set_seed
from diffusers import StableDiffusionPipeline

from threedis_core.files.atomic import write_atomically
from threedis_pocket.models import build_depth_unet
from threedis_pocket.training.diffusion import build_scheduler
from threedis_pocket.training.vae import load_vae
from threedis_pocket.training.work import load_text, require

NEEDS = ("depth-vae/model", "text/text_encoder")
BASE, UNET, ADAPTER = "depth-base", "depth-unet-2", "depth-adapter-2"
SEED = 0
_SHARED = """\
data: {format: folder, path: scenes}
depth_estimator: null  # the scenes have exact depth
cache: depth-cache
size: 128
batch_size: 16
accumulation: 1
schedule: cosine
warmup: 100
ema: 0.998
repeat_prompt: false
log_every: 25
checkpoint_every: 250
validation: {every: 500, examples: 64, pictures: 8, steps: 20, guidance: 2.0}
"""
CONFIGS = {
    "depth-unet-1": f"""\
# Captions become depth maps.
train: unet
model: {BASE}
out: depth-unet-1
steps: 1500
learning_rate: 1.2e-3
pyramid_noise: 0.0
{_SHARED}""",
    "depth-adapter-1": f"""\
# The layout adapter learns where things go, which the first steps decide.
train: adapter
model: {BASE}
unet: depth-unet-1/unet.safetensors
box_width: 64
out: depth-adapter-1
steps: 1500
learning_rate: 1.2e-3
pyramid_noise: 0.3
{_SHARED}""",
    "depth-unet-2": f"""\
# The U-Net goes on, so that its shapes are clearer.
train: unet
model: {BASE}
unet: depth-unet-1/unet.safetensors
out: depth-unet-2
steps: 1000
learning_rate: 8.0e-4
pyramid_noise: 0.0
{_SHARED}""",
    "depth-adapter-2": f"""\
# The adapter goes on with that U-Net, and learns to hold things in place in later steps, too.
train: adapter
model: {BASE}
unet: depth-unet-2/unet.safetensors
adapter: depth-adapter-1/layout_adapter.safetensors
out: depth-adapter-2
steps: 1200
learning_rate: 8.0e-4
timesteps: [100, 999]
pyramid_noise: 0.3
{_SHARED}""",
}
"""The trainings of pocket-depth by name, each after those it needs."""


def make_depth_base(work: Path) -> list[Path]:
    """Save the untrained pipeline and write the configs into ``work``; returns the configs.

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
    paths = [work / f"{name}.yaml" for name in CONFIGS]
    for path, text in zip(paths, CONFIGS.values(), strict=True):
        write_atomically(path, text.encode())
    return paths
