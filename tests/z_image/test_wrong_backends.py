"""What is wrong inside Z-Image's hook fails the tests of what it computes, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import threedis_z_image.backend as backend
import threedis_z_image.hook as hook
from threedis_core.attention import JointPhase, TokenOrder
from threedis_core.errors import RenderError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_z_image.backend import ZImageRenderer

from . import test_z_image as tests

site, sites = ZImageRenderer.site, backend.sites
places, placing = JointPhase.text_places, hook._placed


def without(part: str) -> Callable[..., Any]:
    """Which tokens the transformer's attentions see, a kind of them unhooked."""
    return lambda self, name: None if name.startswith(part) else site(self, name)


def controlnet_without(part: str) -> Callable[..., Any]:
    """The same of the ControlNet."""
    return lambda controlnet: (
        lambda name: None if name.startswith(part) else sites(controlnet)(name)
    )


def refiners_too(controlnet: Any) -> Callable[..., Any]:
    """The ControlNet's hook takes what it is lent for its own."""
    return lambda name: sites(controlnet)(name) or site(None, name)  # type: ignore[arg-type]


def placed(
    place: Callable[[Tensor], Tensor] = lambda own: own,
    fill: Callable[[Tensor], Tensor] = lambda own: own,
) -> Any:
    """Texts of which some tokens are elsewhere, or some padding is none."""

    def made(self: JointPhase) -> Any:
        return [(place(one), fill(other)) for one, other in places(self)]

    return made


@contextmanager
def moved(model: Any, phase: JointPhase) -> Iterator[None]:
    """The image is behind one text more."""
    with placing(model, phase):
        right = model.patchify_and_embed

        def patchify(*args: Any) -> Any:
            found = right(*args)
            for ids in found[3]:
                ids[:, 0] += 32 * (ids[:, 0] > 0)
            return found

        model.patchify_and_embed = patchify
        yield


def apart_from_each_other(renew: dict[str, Any]) -> None:
    for kind in ("2.0", "2.1"):
        tests.test_regions_that_cover_the_picture_hear_each_other_at_no_step(
            kind, renew["make_renderer"], renew["make_request"]
        )


def as_the_stock_pipeline(renew: dict[str, Any]) -> None:
    tests.test_an_instance_of_the_whole_picture_is_what_the_stock_pipeline_draws_of_its_prompt(
        "2.1", "a red cat", **renew
    )


def hooked_once(renew: dict[str, Any]) -> None:
    tests.test_each_attention_is_hooked_once(renew["make_renderer"], renew["make_request"])


def unpadded(self: Any, grid: tuple[int, int]) -> TokenOrder:
    return TokenOrder(image_first=True, suffix=-grid[0] * grid[1] % 32)


WRONG: dict[str, tuple[Any, str, Any, Callable[[dict[str, Any]], None]]] = {
    "image refiner unhooked": (
        *(ZImageRenderer, "site", without("noise_refiner")),
        apart_from_each_other,
    ),
    "text refiner unhooked": (
        *(ZImageRenderer, "site", without("context_refiner")),
        apart_from_each_other,
    ),
    "joint layers unhooked": (*(ZImageRenderer, "site", without("layers")), apart_from_each_other),
    "one joint layer unhooked": (
        *(ZImageRenderer, "site", without("layers.3")),
        apart_from_each_other,
    ),
    "control layers unhooked": (
        *(backend, "sites", controlnet_without("control_layers")),
        apart_from_each_other,
    ),
    "control refiner unhooked": (
        *(backend, "sites", controlnet_without("control_noise_refiner")),
        apart_from_each_other,
    ),
    "refiners hooked twice": (backend, "sites", refiners_too, hooked_once),
    "the image moved": (hook, "_placed", moved, as_the_stock_pipeline),
    "texts one behind another": (
        *(JointPhase, "text_places", placed(lambda own: torch.arange(1, len(own) + 1))),
        as_the_stock_pipeline,
    ),
    "no learned padding": (
        *(JointPhase, "text_places", placed(fill=lambda own: own & False)),
        as_the_stock_pipeline,
    ),
    "texts not padded": (ZImageRenderer, "token_order", unpadded, as_the_stock_pipeline),
    "the ControlNet without the texts": (
        *(ZImageRenderer, "other_hooks", lambda self, pipeline, phases: ()),
        as_the_stock_pipeline,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_caught(
    name: str,
    folder_of: Callable[[str], Path],
    make_renderer: Callable[..., ZImageRenderer],
    make_request: Callable[..., RenderRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renew = {"folder_of": folder_of, "make_renderer": make_renderer, "make_request": make_request}
    where, what, wrong, check = WRONG[name]
    check(renew)
    monkeypatch.setattr(where, what, wrong)
    with pytest.raises((AssertionError, RenderError, RuntimeError)):
        check(renew)
