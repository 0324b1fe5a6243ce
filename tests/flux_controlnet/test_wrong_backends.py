"""What is wrong inside flux-controlnet fails its tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import threedis_flux.arrangement as arrangement
from threedis_core.plugin.interfaces import RenderRequest
from threedis_flux.controlnet import FluxControlNetRenderer

from .test_flux_controlnet import (
    test_every_lowering_draws_the_same_of_pictures_that_are_arranged_differently as arranged,
)
from .test_flux_controlnet import (
    test_pictures_of_a_batch_are_as_if_alone_though_their_texts_are_of_other_length as batched,
)

Make = Callable[..., FluxControlNetRenderer]
Request = Callable[..., RenderRequest]


def unhooked(*arguments: Any) -> tuple[()]:
    return ()


def without_the_mode(renderer: FluxControlNetRenderer, pipeline: Any) -> Any:
    return renderer.order


@pytest.mark.parametrize(
    ("patch", "kind"),
    [
        (("other_hooks", unhooked), "plain"),
        (("controlnet_order", without_the_mode), "union"),
    ],
    ids=["padding is seen", "the mode is no token"],
)
def test_a_fault_in_the_controlnets_hook_is_found(
    patch: tuple[str, Any],
    kind: str,
    make_renderer: Make,
    make_request: Request,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FluxControlNetRenderer, *patch)
    with pytest.raises(Exception, match=r"assert|the region plan is for"):
        batched(kind, make_renderer, make_request)


def test_residuals_that_stay_where_they_are_while_tokens_move_are_found(
    make_renderer: Make, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrangement, "RESIDUALS", ())
    with pytest.raises(AssertionError):
        arranged("block_mask", make_renderer, make_request)
