"""The suite passes a right backend, and every check fails a backend that is wrong in its way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from wrong_renderers import needs, requests, results, traces
from wrong_renderers.fakes import FakeSuite, Filed, FiledSuite

from threedis_core.plugin.interfaces import Capabilities, RenderRequest
from threedis_core.testing import FakeRenderer, RendererConformance
from threedis_core.testing.fakes import FakeRendererOptions

DISCOVERY = "test_discovery_imports_no_model_library"
BROKEN = [
    *((backend.__name__, backend, check) for backend, check in needs.WRONG),
    *((backend.__name__, backend, check) for backend, check in results.WRONG),
    *((backend.__name__, backend, check) for backend, check in traces.WRONG),
    *requests.WRONG,
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*Filed.files, "README.md"):
        (tmp_path / name).write_text("x")
    return tmp_path


class TestFakeRenderer(FakeSuite):
    """Every check passes; those of models and guidance are skipped."""


class TestToy(FakeSuite):
    """Those of guidance and of several controls pass, too."""

    backend = requests.Toy


class TestFiled(FiledSuite):
    """Those of models, too."""

    @pytest.fixture(autouse=True)
    def _folder(self, folder: Path) -> None:
        self.folder = folder


def small(**limits: Any) -> type[requests.Toy]:
    class Small(requests.Toy):
        @property
        def capabilities(self) -> Capabilities:
            usual = vars(requests.Toy(self.options).capabilities)
            return Capabilities(**{**usual, **limits})

    return Small


class TestFewStepsAndSizes(FakeSuite):
    """A backend with limits of every kind passes, too."""

    backend = small(max_size=(96, 80), min_steps=2, max_instances=1, masks=False)


class TestListedSizes(FakeSuite):
    backend = small(sizes=((64, 64), (96, 48)), max_instances=2)


@pytest.mark.parametrize(
    ("backend", "check"),
    [pytest.param(backend, check, id=f"{name}-{check}") for name, backend, check in BROKEN],
)
def test_a_check_fails_a_backend_that_is_wrong_in_its_way(backend, check, folder) -> None:
    suite = FiledSuite() if issubclass(backend, Filed) else FakeSuite()
    suite.backend, suite.folder = backend, folder
    with pytest.raises(Exception) as failure:  # noqa: PT011  a check lets out what it meets
        getattr(suite, check)()
    assert not isinstance(failure.value, AttributeError | NameError)


def test_at_least_forty_backends_are_wrong() -> None:
    assert len({name for name, *_ in BROKEN}) >= 40


def test_a_base_picture_by_the_backend_under_test_proves_nothing() -> None:
    class Tautological(FakeSuite):
        def base_model_picture(self, request: RenderRequest) -> Image.Image:
            return FakeRenderer(FakeRendererOptions()).render([request])[0].image

    with pytest.raises(AssertionError, match="asks FakeRenderer, the backend under test"):
        Tautological().test_zero_instances_give_the_base_models_picture()
    assert FakeRenderer(FakeRendererOptions()).render([FakeSuite().request()])  # it is as it was


def test_discovery_that_imports_torch_fails_its_check(tmp_path, monkeypatch) -> None:
    (tmp_path / "heavy_plugin.py").write_text(
        "import sys, types\nsys.modules['torch'] = types.ModuleType('torch')\n"
        "from threedis_core.refiners import threedis_register_region_refiners\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    suite = FakeSuite()
    suite.plugin_module = "heavy_plugin"
    with pytest.raises(AssertionError, match="imports torch"):
        suite.test_discovery_imports_no_model_library()
    suite.plugin_module = "no_such_plugin"
    with pytest.raises(AssertionError, match="cannot be registered"):
        suite.test_discovery_imports_no_model_library()


def test_every_check_has_a_backend_that_fails_it() -> None:
    checks = {name for name in dir(RendererConformance) if name.startswith("test_")}
    assert {check for _, _, check in BROKEN} | {DISCOVERY} == checks


def test_the_fakes_draw_and_need_no_model_library() -> None:
    result = FakeRenderer(FakeRendererOptions()).render([FakeSuite().request()])[0]
    assert result.image.size == (64, 64)
    assert json.dumps(dict(result.provenance)) == '{"fake": true}'
