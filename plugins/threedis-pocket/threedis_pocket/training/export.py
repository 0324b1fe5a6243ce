"""Put trained parts together as diffusers pipeline folders, float16 safetensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    ControlNetModel,
    DiffusionPipeline,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxControlPipeline,
    FluxTransformer2DModel,
    QwenImageControlNetModel,
    QwenImageControlNetPipeline,
    QwenImageTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    UNet2DConditionModel,
    ZImageControlNetModel,
    ZImageControlNetPipeline,
    ZImageTransformer2DModel,
)

from threedis_diffusers.weight_files import read_header, read_weights, save_weights
from threedis_ldm3d.training.train import ADAPTER_FILE, UNET_FILE
from threedis_pocket.flux_models import build_flux_scheduler
from threedis_pocket.models import penultimate
from threedis_pocket.sd3_models import build_sd3_scheduler, widen_t5, with_projection
from threedis_pocket.training import shipped
from threedis_pocket.training.depth_base import BASE
from threedis_pocket.training.diffusion import build_scheduler
from threedis_pocket.training.parts import load_part
from threedis_pocket.training.vae import load_vae
from threedis_pocket.training.work import (
    load_openclip,
    load_qwen,
    load_qwen_vl,
    load_t5,
    load_text,
    require,
)
from threedis_pocket.z_image_models import build_z_image_scheduler, give_back


def export(name: str, work: Path, folder: Path, shared: bool = True) -> Path:
    """Save the pipeline ``name`` from what was trained in ``work``.

    Args:
        name: One of ``EXPORTS``.
        shared: False leaves out the weights of the parts that another folder holds, see
            ``SHARED``; a renderer is told where they are by its options of these names.

    Raises:
        OptionError: A part has not been trained yet.
    """
    needs, assemble = EXPORTS[name]
    require(work, *needs)
    pipeline = assemble(work)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.half()
        if hasattr(part, "register_to_config"):
            part.register_to_config(_name_or_path="")  # where it lay while it was trained
    pipeline.register_to_config(_name_or_path="")
    pipeline.save_pretrained(folder)
    if name == "z-image":  # its template in its configuration, as it is published
        pipeline.components["tokenizer"].save_pretrained(
            folder / "tokenizer", save_jinja_files=False
        )
        (folder / "tokenizer" / "chat_template.jinja").unlink()
    if name == "depth":
        _export_adapter(work, folder)
    for part in () if shared else SHARED.get(name, ("vae",)):
        for weights in (folder / part).glob("*.safetensors"):
            weights.unlink()
    return folder


def _unet_parts(work: Path, name: str) -> dict[str, Any]:
    return {
        "vae": load_vae(work / "vae" / "model"),
        "unet": load_part(UNet2DConditionModel, work / name / "unet"),
        "controlnet": load_part(ControlNetModel, work / name / "controlnet"),
        "scheduler": build_scheduler(),
        "feature_extractor": None,
    }


def _stable_diffusion(work: Path, name: str, text: tuple[Any, Any]) -> DiffusionPipeline:
    text_encoder, tokenizer = text
    return StableDiffusionControlNetPipeline(
        **_unet_parts(work, name),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        safety_checker=None,
        requires_safety_checker=False,
    )


def _sd15(work: Path) -> DiffusionPipeline:
    return _stable_diffusion(work, "sd15-fine", load_text(work))


def _sd21(work: Path) -> DiffusionPipeline:
    encoder, tokenizer = load_openclip(work)
    return _stable_diffusion(work, "sd21-fine", (penultimate(encoder), tokenizer))


def _sdxl(work: Path) -> DiffusionPipeline:
    text_encoder, tokenizer = load_text(work)
    text_encoder_2, tokenizer_2 = load_openclip(work)
    return StableDiffusionXLControlNetPipeline(
        **_unet_parts(work, "sdxl-fine"),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        force_zeros_for_empty_prompt=False,  # trained with the empty caption itself
        add_watermarker=False,
    )


def _flux(work: Path) -> DiffusionPipeline:
    text_encoder, tokenizer = load_text(work)
    text_encoder_2, tokenizer_2 = load_t5(work)
    return FluxControlPipeline(
        scheduler=build_flux_scheduler(),
        vae=load_vae(work / "flux-vae" / "model"),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=load_part(FluxTransformer2DModel, work / "flux-wild-guided" / "model"),
    )


def _flux_controlnet(work: Path) -> DiffusionPipeline:
    text_encoder, tokenizer = shipped.clip()
    text_encoder_2, tokenizer_2 = shipped.t5()
    return FluxControlNetPipeline(
        scheduler=build_flux_scheduler(),
        vae=shipped.flux_vae(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=load_part(FluxTransformer2DModel, work / "flux-controlnet" / "transformer"),
        controlnet=load_part(FluxControlNetModel, work / "flux-controlnet" / "controlnet"),
    )


def _sd35(work: Path) -> DiffusionPipeline:
    text_encoder, tokenizer = shipped.clip()
    text_encoder_2, tokenizer_2 = shipped.open_clip()
    text_encoder_3, tokenizer_3 = shipped.t5()
    pipeline = StableDiffusion3ControlNetPipeline(
        scheduler=build_sd3_scheduler(),
        vae=shipped.flux_vae(),
        text_encoder=with_projection(text_encoder),
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        text_encoder_3=widen_t5(text_encoder_3),
        tokenizer_3=tokenizer_3,
        transformer=load_part(SD3Transformer2DModel, work / "sd35-fine" / "transformer"),
        controlnet=load_part(SD3ControlNetModel, work / "sd35-fine" / "controlnet"),
    )
    pipeline.controlnet.pos_embed = None  # the transformer's, which every pipeline gives it
    return pipeline


def _z_image(work: Path) -> DiffusionPipeline:
    text_encoder, tokenizer = load_qwen(work)
    pipeline: Any = ZImageControlNetPipeline(
        scheduler=build_z_image_scheduler(),
        vae=shipped.flux_vae(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
        transformer=load_part(ZImageTransformer2DModel, work / "z-image-fine" / "transformer"),
        controlnet=load_part(ZImageControlNetModel, work / "z-image-fine" / "controlnet"),
    )
    give_back(pipeline.controlnet)
    return pipeline


def _qwen_image(work: Path) -> DiffusionPipeline:
    text_encoder, tokenizer = load_qwen_vl(work)
    tokenizer.chat_template = None  # the pipelines have one of their own
    folder = work / "qwen-image-fine"
    return QwenImageControlNetPipeline(
        scheduler=build_flux_scheduler(),
        vae=load_part(AutoencoderKLQwenImage, work / "qwen-vae" / "model"),
        text_encoder=text_encoder,
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
        transformer=load_part(QwenImageTransformer2DModel, folder / "transformer"),
        controlnet=load_part(QwenImageControlNetModel, folder / "controlnet"),
    )


def _depth(work: Path) -> DiffusionPipeline:
    pipeline = load_part(StableDiffusionPipeline, work / BASE)
    weights = read_weights(work / DEPTH / UNET_FILE)
    pipeline.unet.load_state_dict(weights)
    return pipeline


def _export_adapter(work: Path, folder: Path) -> None:
    """The depth model's adapter, beside its pipeline, with the header it was trained with."""
    file = work / DEPTH / ADAPTER_FILE
    weights = {name: weight.half() for name, weight in read_weights(file).items()}
    save_weights(weights, folder / ADAPTER_FILE, read_header(file))


DEPTH = "depth-wild"
SHARED = {
    "sdxl": ("vae", "text_encoder"),
    "flux-controlnet": ("vae", "text_encoder", "text_encoder_2"),
    "sd35": ("vae", "text_encoder_2"),
    "qwen-image": (),
}
"""Parts that lie in pocket-flux already, pocket-sdxl's in pocket-sd15.

SD3.5's second text encoder is pocket-sdxl's. Of the others the autoencoder alone: in pocket-sd15,
pocket-z-image's in pocket-flux. pocket-qwen-image has all of its own.
"""
_UNET = ("vae/model",)
EXPORTS: dict[str, tuple[tuple[str, ...], Callable[[Path], DiffusionPipeline]]] = {
    "sd15": ((*_UNET, "text/text_encoder", "sd15-fine/unet"), _sd15),
    "sd21": ((*_UNET, "openclip/text_encoder", "sd21-fine/unet"), _sd21),
    "sdxl": ((*_UNET, "text/text_encoder", "openclip/text_encoder", "sdxl-fine/unet"), _sdxl),
    "flux": (
        ("flux-vae/model", "text/text_encoder", "t5/text_encoder", "flux-wild-guided/model"),
        _flux,
    ),
    "flux-controlnet": (("flux-controlnet/transformer",), _flux_controlnet),
    "sd35": (("sd35-fine/transformer",), _sd35),
    "z-image": (("qwen/text_encoder", "z-image-fine/transformer"), _z_image),
    "qwen-image": (
        ("qwen-vl/text_encoder", "qwen-vae/model", "qwen-image-fine/transformer"),
        _qwen_image,
    ),
    "depth": ((f"{BASE}/model_index.json", f"{DEPTH}/{UNET_FILE}"), _depth),
}
"""The pipelines: the trained parts they need, and what puts them together."""
