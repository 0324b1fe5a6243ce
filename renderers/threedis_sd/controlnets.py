"""The kinds of ControlNet: found before anything is loaded, and given their control pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from os.path import expanduser
from typing import Any

import torch
from PIL import Image
from torch import nn

from threedis_core.errors import OptionError, WeightsError
from threedis_core.files.pictures import open_picture, upright
from threedis_core.files.printable import printable
from threedis_diffusers.model_files.checks import (
    WEIGHTS_STEM,
    check_weights,
    read_configuration,
)
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.find import find_quantization
from threedis_diffusers.parts.folder import PipelinePart
from threedis_diffusers.parts.one_file import OneFile
from threedis_diffusers.parts.place import PartPlace, folder_of, part_place
from threedis_diffusers.quantized.wanted import Wanted
from threedis_sd.options import MoreControlNet, UNetOptions

PLAIN = "ControlNetModel"
UNION = "ControlNetUnionModel"
TOGETHER = "MultiControlNetModel"
"""Class names of diffusers: a ControlNet of one kind of control, one of several, and several."""
UNION_DEPTH = 1
"""Depth among the control types of a union ControlNet."""


def find_controlnet(
    place: PartPlace,
    described_by: ModelSource,
    unet: Mapping[str, Any],
    kinds: Collection[str],
    dtype: torch.dtype = torch.float32,
    wanted: Wanted | None = None,
) -> PipelinePart | OneFile:
    """See that a ControlNet's files are there and that it fits the U-Net's configuration.

    Args:
        place: Where it should be.
        described_by: Where its configuration is if it is one file.
        unet: The U-Net's configuration.
        kinds: Classes that the renderer can use.
        dtype: The number format to compute in.
        wanted: How it is to be quantised.
    Raises:
        OptionError: It cannot be quantised so on this machine.
        WeightsError: A file is missing, or it is of another kind or for another base model.
    """
    if place.file:
        file = OneFile(
            place.source, place.file, "controlnet", PLAIN, "diffusers", described_by, wanted
        )
        file.check()
        _check_fit(file.configuration, file.name, unet, (PLAIN,))
        return file
    source = folder_of(place.source, "controlnet")
    config = read_configuration(source, "config.json")
    kind = _check_fit(config, source.name, unet, kinds)
    quantization = find_quantization(config, wanted, "controlnet", source.name, dtype)
    ending = check_weights(source, "", WEIGHTS_STEM)
    return PipelinePart(source, kind, ending, quantization=quantization)


def _check_fit(
    config: Mapping[str, Any], name: str, unet: Mapping[str, Any], kinds: Collection[str]
) -> str:
    """See that a ControlNet's configuration fits the U-Net's; its class."""
    # Some union ControlNets call themselves by a name that diffusers does not have.
    kind = UNION if "num_control_type" in config else config.get("_class_name", PLAIN)
    if kind not in kinds:
        raise WeightsError(
            f"ControlNet '{name}' is a {kind!r}; expected one of: {', '.join(kinds)}. "
            "Name another ControlNet, or another renderer"
        )
    for key in ("cross_attention_dim", "block_out_channels", "in_channels"):
        if config.get(key) != unet.get(key):
            raise WeightsError(
                f"ControlNet '{name}' has {key} {config.get(key)}, but the model has "
                f"{unet.get(key)}; name a ControlNet that was trained for this base model"
            )
    return kind


def find_more(
    options: UNetOptions,
    depth: PipelinePart | OneFile,
    described_by: ModelSource,
    unet: Mapping[str, Any],
    half: bool,
) -> list[PipelinePart | OneFile]:
    """See that the ControlNets beside the depth one are there and fit the U-Net.

    Args:
        options: They name them.
        depth: The depth ControlNet.
        described_by: Where the configuration of those is that are one file.
        unet: The U-Net's configuration.
        half: True to prefer files that hold the weights in float16.
    Raises:
        OptionError: The depth ControlNet is one that no other goes beside.
        WeightsError: A file is missing, or it is of another kind or for another base model.
    """
    more = options.more_controlnets
    if more and depth.kind != PLAIN:
        raise OptionError(
            f"more_controlnets do not go beside a {depth.kind}; set controlnet to a {PLAIN} for "
            "depth, or leave more_controlnets out",
            path="more_controlnets",
            hint=f"set controlnet to a {PLAIN} for depth",
        )
    places = (part_place(one.model, half) for one in more)
    return [find_controlnet(place, described_by, unet, (PLAIN,)) for place in places]


def read_control_picture(one: MoreControlNet) -> Image.Image:
    """The control picture of a ControlNet, RGB, of any size.

    Raises:
        OptionError: It is missing or damaged, or has more than 8 bits a channel.
    """
    path = expanduser(one.image)
    picture = open_picture(path, OptionError, "a control picture")
    if picture.mode[0] in "IF":  # which would be clipped, not scaled
        raise OptionError(
            f"{printable(path)}: a control picture with more than 8 bits a channel; save it with 8",
            code="file-unreadable",
            hint="save it with 8 bits a channel",
        )
    return upright(picture).convert("RGB")


def joined(depth: nn.Module, others: Sequence[nn.Module]) -> nn.Module:
    """The depth ControlNet and others as one; their residuals are added."""
    from diffusers import MultiControlNetModel

    return MultiControlNetModel([depth, *others]).eval()  # pyright: ignore[reportArgumentType]


def depth_of(controlnet: Any) -> Any:
    """The depth ControlNet of a pipeline that may have several."""
    return controlnet.nets[0] if type(controlnet).__name__ == TOGETHER else controlnet


def control_arguments(
    pipeline: Any,
    depth: list[Image.Image],
    size: tuple[int, int],
    options: UNetOptions,
    pictures: Sequence[Image.Image] = (),
) -> dict[str, Any]:
    """How a pipeline is given its control pictures, and how much each counts.

    Args:
        pipeline: It is loaded.
        depth: The depth maps of a batch.
        size: (width, height) of the pictures to draw.
        options: The renderer's.
        pictures: One for each ControlNet beside the depth one.
    """
    names = ("controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end")
    own = (options.controlnet_scale, options.controlnet_start, options.controlnet_end)
    if not pictures:
        return {**depth_arguments(pipeline.controlnet, depth), **dict(zip(names, own, strict=True))}
    width, height = size
    # Lists in a list mean something else in each pipeline, tensors the same; one counts for all.
    images = [
        pipeline.control_image_processor.preprocess(some, height=height, width=width)
        for some in (depth, *([one] for one in pictures))
    ]
    more = [(one.scale, one.start, one.end) for one in options.more_controlnets]
    values = [list(each) for each in zip(own, *more, strict=True)]
    return {"image": images, **dict(zip(names, values, strict=True))}


def depth_arguments(controlnet: nn.Module, images: list[Image.Image]) -> dict[str, Any]:
    """How the pipeline of ``controlnet`` is given the depth maps of a batch."""
    if not is_union(controlnet):
        return {"image": images}
    # A list with one entry per control; each entry is a batch.
    return {"control_image": [images], "control_mode": [UNION_DEPTH]}


def is_union(controlnet: nn.Module) -> bool:
    """True for a ControlNet of several kinds of control."""
    return type(controlnet).__name__ == UNION


@contextmanager
def pictures_apart(controlnet: nn.Module) -> Iterator[None]:
    """Keep the pictures of a batch out of each other, while inside.

    A union ControlNet has one layer that attends along the batch, so that each picture of a batch
    would change the others. Masked, it gives each what it gets alone.
    """

    def alone(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tokens = args[0]
        others = ~torch.eye(len(tokens), dtype=torch.bool, device=tokens.device)
        return args, {**kwargs, "attn_mask": others}

    with ExitStack() as stack:
        for layer in controlnet.modules() if is_union(controlnet) else ():
            if isinstance(layer, nn.MultiheadAttention):
                handle = layer.register_forward_pre_hook(alone, with_kwargs=True)
                stack.callback(handle.remove)
        yield
