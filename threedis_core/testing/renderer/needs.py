"""Checks that a backend tells what it can do and what it needs, truly and before loading."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from threedis_core.errors import ThreeDISError, WeightsError
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import RenderBackend
from threedis_core.plugin.result_checks import checked_capabilities
from threedis_core.testing.checks import check_discovery_is_light, check_nothing_is_loaded
from threedis_core.testing.renderer.suite import RendererSuite


class NeedChecks(RendererSuite):
    """What a run and the doctor ask before anything is loaded."""

    def test_capabilities_are_known_without_weights(self) -> None:
        backend = self.make_backend_without_weights()
        with check_nothing_is_loaded("capabilities"):
            capabilities = checked_capabilities(backend.capabilities)
        assert backend.capabilities == capabilities, "asked again, the answer is another one"
        assert self.draws(self.make_backend().capabilities.default_size), (
            "default_size is none of the sizes that capabilities say it draws"
        )
        assert capabilities.default_steps >= capabilities.min_steps, "default_steps < min_steps"

    def test_what_is_needed_is_known_without_weights(self) -> None:
        for backend in (self.make_backend(), self.make_backend_without_weights()):
            with check_nothing_is_loaded("inspect()"):
                found = backend.inspect()
            assert isinstance(found, Inspection), f"got {found!r}"
            json.dumps(asdict(found))
        assert self.make_backend().inspect().ready, "a backend that can render says it cannot"

    def test_check_loads_nothing_and_raises_only_our_errors(self) -> None:
        backend = self.make_backend()
        with check_nothing_is_loaded("check()"):
            backend.check()  # it can render, so there is nothing to complain about
        with suppress(ThreeDISError), check_nothing_is_loaded("check()"):
            self.make_backend_without_weights().check()

    def test_without_weights_inspection_check_and_render_say_the_same(self) -> None:
        self._agree(self.make_backend_without_weights, "without weights")

    def test_a_file_that_is_missing_is_told_by_inspection_check_and_render(self) -> None:
        folder = self.model_folder()
        if folder is None:
            pytest.skip("model_folder is not overridden")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        with TemporaryDirectory() as place:
            for file in files:
                copy = Path(place, "model")
                shutil.copytree(folder, copy, copy_function=_link)
                (copy / file.relative_to(folder)).unlink()
                make = partial(self.make_backend, model=str(copy))
                self._agree(make, f"without the file {file.relative_to(folder)}")
                shutil.rmtree(copy)

    def test_discovery_imports_no_model_library(self) -> None:
        check_discovery_is_light(self.plugin_module)

    def _agree(self, make: Callable[[], RenderBackend], when: str) -> None:
        """Fail unless a backend that cannot load says so in all three ways, and else in none."""

        def render(backend: RenderBackend) -> None:
            backend.render([self.request()])

        ways: dict[str, Callable[[RenderBackend], None]] = {
            "inspect()": _inspect,
            "check()": lambda backend: backend.check(),
            "render()": render,
        }
        told: dict[str, bool] = {}
        for way, ask in ways.items():
            try:
                ask(make())
                told[way] = False
            except WeightsError:
                told[way] = True
            except Exception as error:
                raise AssertionError(
                    f"{when}, {way} raises {error!r}; expected a WeightsError, or that it works"
                ) from error
        assert len(set(told.values())) == 1, (
            f"{when}, that something is missing is said by "
            f"{', '.join(way for way, said in told.items() if said)} only"
        )


def _inspect(backend: RenderBackend) -> None:
    if not backend.inspect().ready:
        raise WeightsError("inspect() says that it is not ready")


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)
