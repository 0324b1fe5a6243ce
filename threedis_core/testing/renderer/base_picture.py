"""Checks that with nothing to control, the picture is the base model's."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threedis_core.plugin.interfaces import RenderBackend, RenderRequest
from threedis_core.testing.renderer.suite import RendererSuite, picture, same
from threedis_core.values.schedule import ControlSchedule


class BasePictureChecks(RendererSuite):
    """Nothing on is the base model, pixel by pixel."""

    def test_zero_instances_give_the_base_models_picture(self) -> None:
        self._equals_base_model(self.request(instances=0))

    def test_all_controls_off_give_the_base_models_picture(self) -> None:
        self._equals_base_model(self.scene(control=ControlSchedule(), seed=3))

    def _equals_base_model(self, request: RenderRequest) -> None:
        expected = self._base_picture(request)
        if expected is None:
            pytest.skip("base_model_picture is not overridden")
        drawn = picture(self.make_backend(), request)
        assert same(np.asarray(expected).astype(np.int16), drawn), (
            "the base model gives another picture"
        )

    def _base_picture(self, request: RenderRequest) -> Image.Image | None:
        asked: list[str] = []
        with _watched(type(self.make_backend()), asked):
            made = self.base_model_picture(request)
        assert not asked, (
            f"base_model_picture asks {asked[0]}, the backend under test, which proves nothing; "
            "draw the picture with the base model's own pipeline"
        )
        return made


@contextmanager
def _watched(backend: type[RenderBackend], asked: list[str]) -> Generator[None]:
    """Note in ``asked`` that ``backend``, or a class it is made of, renders something inside."""
    own = {
        kind: vars(kind)["render"]
        for kind in backend.__mro__
        if "render" in vars(kind) and kind is not RenderBackend
    }

    def noted(name: str, render: Any) -> Any:
        def note(*arguments: Any, **options: Any) -> Any:
            asked.append(name)
            return render(*arguments, **options)

        return note

    for kind, render in own.items():
        kind.render = noted(kind.__name__, render)
    try:
        yield
    finally:
        for kind, render in own.items():
            kind.render = render
