"""The hook fits the published architectures, which take no memory on the meta device."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import SD3ControlNetModel, SD3Transformer2DModel

from threedis_core.attention import CONTROLS, JointPhases, JointRow
from threedis_core.values.layout import Box
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.joint.hook import JointHook, attached
from threedis_diffusers.joint.lowering import always
from threedis_diffusers.joint.processor import PlannedProcessor, attention_modules
from threedis_sd35.backend import SD35Options, SD35Renderer

META = torch.device("meta")
EVERYTHING = ControlSchedule({name: StepRange() for name in ("texts", *CONTROLS)})
TEXT = 77 + 256
BOXES = ((0.0, 0.0, 0.5, 0.6), (0.4, 0.3, 0.9, 1.0))


def phases() -> JointPhases:
    """Two instances at 1024 pixels, with a negative prompt in front."""
    boxes = tuple(Box.from_xyxy(box) for box in BOXES)
    masks = Regions(boxes, (None, None), 1024, 1024).token_masks(64, 64)
    texts = torch.empty(3, TEXT, 4096, device=META)
    rows = [JointRow.unhooked(texts[0], (64, 64)), JointRow(texts, masks)]
    return JointPhases(rows, EVERYTHING, always("dense"), META, SD35Renderer.order)


@pytest.mark.parametrize(("size", "sites"), [("LARGE", 38), ("MEDIUM", 24 + 13)])
def test_every_attention_of_the_published_transformers_is_by_the_plan(
    size: str, sites: int, benchmark: Callable[[str], ModuleType]
) -> None:
    architectures = benchmark("architectures")
    config = getattr(architectures, f"SD35_{size}")
    with META:
        transformer = SD3Transformer2DModel(**config)
        controlnet = SD3ControlNetModel(**getattr(architectures, f"SD35_{size}_CONTROLNET"))
    own = dict(transformer.attn_processors)
    hook = JointHook(transformer, phases(), SD35Renderer(SD35Options()).site)
    given: dict[str, Any] = {
        "hidden_states": torch.empty(2, 16, 128, 128, device=META),
        "encoder_hidden_states": torch.empty(2, TEXT, 4096, device=META),
        "pooled_projections": torch.empty(2, 2048, device=META),
        "timestep": torch.empty(2, device=META),
        "return_dict": False,
    }
    reads_text = controlnet.config["joint_attention_dim"] is not None
    controlled = {**given, "controlnet_cond": given["hidden_states"]}
    if not reads_text:
        controlnet.pos_embed = transformer.pos_embed  # as the pipeline does
        del controlled["encoder_hidden_states"]
    with attached(hook), torch.no_grad():
        hooked = {name: one.processor for name, one in attention_modules(transformer)}
        assert len(hooked) == sites
        for name, processor in hooked.items():
            assert isinstance(processor, PlannedProcessor)
            image = 64 * 64
            tokens = image if name.endswith("attn2") else image + 3 * TEXT
            (attention,) = processor.attentions
            assert (attention.pictures, attention.tokens) == (2, tokens)
        (residuals,) = controlnet(**controlled)
        (out,) = transformer(**given, block_controlnet_hidden_states=residuals)
        assert out.shape == (2, 16, 128, 128)
    assert transformer.attn_processors == own
