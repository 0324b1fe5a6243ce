"""A text that nobody may see is as if it was absent, exactly and by every lowering."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from threedis_core.attention import CONTROLS
from threedis_core.attention.lowering import MAKERS
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import FluxOptions

TEXTS = [("a red cat", (0.0, 0.0, 0.5, 1.0)), ("a blue dog", (0.5, 0.0, 1.0, 1.0))]
ALWAYS = ControlSchedule({name: StepRange() for name in CONTROLS})
EXACT = 1e-5
"""Of the latents' standard deviation."""


@pytest.mark.parametrize("lowering", MAKERS)
def test_a_text_that_nobody_may_see_is_as_if_it_was_absent(
    lowering: str, pipeline_folder: Path, make_request: Callable[..., RenderRequest]
) -> None:
    """Two halves leave no background, and one more instance has no region."""
    options = FluxOptions(
        model=str(pipeline_folder),
        steps=3,
        tokens_per_prompt=12,
        default_side=64,
        attention=lowering,  # type: ignore[arg-type]
    )
    renderer = FluxRenderer(options)
    loaded = renderer.load()
    loaded.pipeline.to(torch.float64)
    nowhere, depth = np.zeros((64, 64), np.bool_), make_request(*TEXTS).depth

    def latents(*hidden: str, place: np.ndarray | None = nowhere) -> Tensor:
        made = make_request(*TEXTS, *((text, TEXTS[0][1]) for text in hidden), control=ALWAYS)
        masks = (None, None, *(place for _ in hidden))
        request = replace(made, regions=Regions(made.regions.boxes, masks, 64, 64), depth=depth)
        ((batch, _),) = renderer._batches([request])
        return renderer.draw_batch(
            loaded, batch, lambda done, of: None, output_type="latent"
        ).images

    absent = latents()
    for hidden in ("a cat", "seven green horses"):
        assert (latents(hidden) - absent).abs().max() <= EXACT * absent.std()
    heard = latents("a cat", place=None)
    assert (heard - absent).abs().max() > 100 * EXACT * absent.std()
