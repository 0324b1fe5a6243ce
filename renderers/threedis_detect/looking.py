"""Ask the loaded models: boxes of a noun in a picture, masks of boxes.

Q = number of the finder's queries, N = number of boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from threedis_core.plugin.judging.interfaces import FoundBox, FoundMask
from threedis_core.values.box import Box
from threedis_core.values.masks.mask import Mask
from threedis_transformers.loading import LoadedVisionModel


@torch.no_grad()
def boxes_of_noun(
    loaded: LoadedVisionModel, picture: Image.Image, noun: str, least: float
) -> tuple[FoundBox, ...]:
    """The boxes that the finder has for a noun alone, the surest first.

    The text is the noun in lower case with a full stop, as the model was trained; a box's score is
    that of the token that fits it best.
    """
    text = " ".join(noun.lower().split()).rstrip(".") + "."
    words = loaded.tokenizer(text, return_tensors="pt", return_token_type_ids=True)
    pixels = loaded.processor(picture, return_tensors="pt")
    output = loaded.model(
        pixel_values=pixels.pixel_values.to(loaded.device, loaded.dtype),
        pixel_mask=pixels.pixel_mask.to(loaded.device),
        **words.to(loaded.device),
    )
    loaded.check_finite(output.pred_boxes)
    scores = output.logits[0].float().sigmoid().amax(dim=-1).cpu()  # (Q,)
    corners = _corners(output.pred_boxes[0].float().cpu())
    order = torch.argsort(scores, descending=True, stable=True)
    return tuple(
        FoundBox(_four(corners[place]), float(scores[place]), noun)
        for place in order.tolist()
        if scores[place] >= least
    )


@torch.no_grad()
def masks_of_boxes(
    loaded: LoadedVisionModel, picture: Image.Image, boxes: Sequence[Box]
) -> list[tuple[FoundMask, ...]]:
    """For each box the segmenter's three masks of it, all boxes in one call."""
    from transformers import SamProcessor

    size = (picture.width, picture.height) * 2
    corners = [[side * of for side, of in zip(box.xyxy, size, strict=True)] for box in boxes]
    processor: Any = SamProcessor(loaded.processor)
    inputs = processor(picture, input_boxes=[corners], return_tensors="pt")
    output = loaded.model(
        pixel_values=inputs.pixel_values.to(loaded.device, loaded.dtype),
        input_boxes=inputs.input_boxes.to(loaded.device, loaded.dtype),
        multimask_output=True,
    )
    loaded.check_finite(output.pred_masks)
    masks = processor.post_process_masks(
        output.pred_masks.float().cpu(), inputs.original_sizes, inputs.reshaped_input_sizes
    )[0]  # (N, 3, H, W)
    scores = output.iou_scores[0].float().cpu()  # (N, 3)
    return [
        tuple(_mask(mask, float(score)) for mask, score in zip(some, own, strict=True))
        for some, own in zip(masks, scores, strict=True)
    ]


def _mask(pixels: Tensor, score: float) -> FoundMask:
    array = pixels.numpy()
    return FoundMask(Mask.encode(array) if array.any() else None, score)


def _corners(boxes: Tensor) -> Tensor:
    """Left, top, right, bottom of boxes given by centre and size, shape (Q, 4)."""
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([middle - half, middle + half], dim=1)


def _four(row: Tensor) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = row.tolist()
    return x0, y0, x1, y1
