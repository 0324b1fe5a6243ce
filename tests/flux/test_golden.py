"""The hook equals the published one, with every lowering."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from threedis_core.attention import JointPhases, JointRow
from threedis_core.attention.lowering import MAKERS
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Box, Layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.batch import Batch
from threedis_diffusers.joint.hook import attached
from threedis_diffusers.joint.lowering import always
from threedis_flux.backend import FluxRenderer
from threedis_flux.hook import FluxHook

CASES = json.loads((Path(__file__).parents[1] / "golden" / "cases.json").read_text("utf-8"))
FORWARDS = sorted(name for name in CASES["cases"] if name.startswith("flux_forward"))
PIPELINES = sorted(name for name in CASES["cases"] if name.startswith("flux_pipeline"))
VARIANTS = [(name, variant) for name in PIPELINES for variant in CASES["cases"][name]["variants"]]
TOLERANCE = 1e-4

Tensors = Callable[[str], dict[str, Tensor]]


@pytest.mark.parametrize("lowering", sorted(MAKERS))
@pytest.mark.parametrize("case", FORWARDS)
def test_a_forward_equals_the_published_one(
    case: str,
    lowering: str,
    golden_cases: dict[str, Any],
    golden_tensors: Tensors,
    golden_transformer: FluxTransformer2DModel,
) -> None:
    facts, tensors = golden_cases[case], golden_tensors(case)
    texts = tensors["in.encoder_hidden_states"].unflatten(1, (-1, facts["tokens_per_prompt"]))
    rows, columns = facts["grid"]
    boxes = tuple(Box.from_xyxy(box) for box in facts["boxes"])
    masks = Regions(boxes, (None,) * len(boxes), rows, columns).token_masks(rows, columns)
    for name, switches in facts["controls"].items():
        on = {control: StepRange() for control, is_on in switches.items() if is_on}
        schedule = ControlSchedule({"texts": StepRange(), **on})
        rows = [JointRow(texts[0], masks)]
        phases = JointPhases(rows, schedule, always(lowering), torch.device("cpu"))
        with torch.no_grad(), attached(FluxHook(golden_transformer, phases)):
            made = forward(golden_transformer, tensors, *facts["grid"])
        expected = tensors[f"out.{name}"]
        assert (made - expected).abs().max() / expected.std() < TOLERANCE, name


def forward(
    transformer: FluxTransformer2DModel, tensors: dict[str, Tensor], rows: int, columns: int
) -> Tensor:
    """Call the transformer as the stock pipeline does: with the global prompt alone."""
    ids = torch.zeros(rows, columns, 3)
    ids[..., 1], ids[..., 2] = torch.arange(rows)[:, None], torch.arange(columns)
    inputs = {name.removeprefix("in."): value for name, value in tensors.items() if "in." in name}
    inputs["encoder_hidden_states"] = inputs["encoder_hidden_states"][:, :1]
    return transformer(
        **inputs, img_ids=ids.flatten(0, 1), txt_ids=torch.zeros(1, 3), return_dict=False
    )[0]


@pytest.mark.parametrize("lowering", sorted(MAKERS))
@pytest.mark.parametrize(("case", "variant"), VARIANTS)
def test_the_whole_loop_equals_the_published_one(
    case: str,
    variant: str,
    lowering: str,
    make_renderer: Callable[..., FluxRenderer],
    golden_cases: dict[str, Any],
    golden_tensors: Tensors,
) -> None:
    facts, tensors = golden_cases[case], golden_tensors(case)
    renderer = make_renderer(attention=lowering, tokens_per_prompt=facts["tokens_per_prompt"])
    loaded = renderer.load()
    schedule = published_schedule(facts["variants"][variant])
    batch = Batch([request(facts, tensors)], facts["steps"], facts["guidance_scale"], schedule)
    latents = renderer.draw_batch(
        loaded,
        batch,
        lambda done, total: None,
        latents=tensors["in.latents"],
        control_image=mean_latents(loaded.pipeline, batch.requests[0]),
        output_type="latent",
    ).images
    expected = tensors[f"out.{variant}"]
    assert (latents - expected).abs().max() / expected.std() < TOLERANCE


def published_schedule(steps: dict[str, int]) -> ControlSchedule:
    """The controls of a golden run: step counts, all steps where none is given."""
    hard = steps.get("hard")
    ranges = {"texts": StepRange.first(hard)}
    for control in ("i2i", "i2t", "t2i", "t2t"):
        counts = [count for count in (steps.get(control), hard) if count is not None]
        ranges[control] = StepRange.first(min(counts, default=None))
    return ControlSchedule(ranges)


def request(facts: dict[str, Any], tensors: dict[str, Tensor]) -> RenderRequest:
    instances = [
        {"prompt": prompt, "box": box}
        for prompt, box in zip(facts["instance_prompts"], facts["boxes"], strict=True)
    ]
    layout = Layout.from_dict({"version": 1, "prompt": facts["prompt"], "instances": instances})
    size = {"width": facts["width"], "height": facts["height"]}
    depth = DepthMap(tensors["in.depth"].numpy().astype(np.float32) / 255)
    return RenderRequest(layout, depth, Regions.from_layout(layout, **size), 0, **size)


def mean_latents(pipeline: Any, request: RenderRequest) -> Tensor:
    """The depth's latents, packed: of the posterior its mean, where the pipeline draws from it."""
    image = pipeline.image_processor.preprocess(request.depth.to_image())
    with torch.no_grad():
        latents = pipeline.vae.encode(image).latent_dist.mean
    config = pipeline.vae.config
    latents = (latents - config.shift_factor) * config.scaling_factor
    latents = latents.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (B, C, rows, 2, columns, 2)
    return latents.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
