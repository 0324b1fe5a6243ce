"""Comparisons of fakes in a folder: renderers that count, fail, die and run out of memory."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from threedis_core.compare import Comparison, compare
from threedis_core.plugin.discovery import load_plugins
from threedis_core.testing import sample_layout

TELL_TIMES = ("events", ".locks", "summary.json", "report.html", "table.")
FAULTS = '''
    import os
    from pathlib import Path

    from threedis_core import OptionError, WeightsError, hookimpl
    from threedis_core.testing import FakeDepthModel, FakeRenderer
    from threedis_core.testing.fakes import FakeRendererOptions


    def note(kind, *facts):
        with open(os.environ["THREEDIS_TEST_LOG"], "a") as file:
            file.write(" ".join(map(str, (kind, *facts))) + "\\n")


    class Options(FakeRendererOptions):
        model: str = ""
        fault: str = ""
        """Of which layouts' pictures it fails: "PROMPT"."""


    class Counting(FakeRenderer):
        Options = Options

        def render(self, requests, progress=lambda *_: None):
            for one in requests:
                note("render", one.layout.prompt, one.seed, len(requests))
            self.hurt([one.layout.prompt for one in requests], len(requests))
            return super().render(requests, progress)

        def hurt(self, prompts, count): ...


    class Failing(Counting):
        def hurt(self, prompts, count):
            if self.options.fault in prompts:
                raise ZeroDivisionError("inside the model")


    class Dying(Counting):
        def hurt(self, prompts, count):
            once = os.environ.get("THREEDIS_TEST_ONCE", "")
            if self.options.fault in prompts and not (once and Path(once).exists()):
                # If a file is named it dies once: the file is made before.
                if once:
                    Path(once).touch()
                os.kill(os.getpid(), 9)


    class Hungry(Counting):
        def hurt(self, prompts, count):
            if count > 2 or self.options.fault in prompts:
                raise MemoryError


    class Missing(Counting):
        def check(self):
            raise WeightsError("no weights in 'nowhere'")


    class Depth(FakeDepthModel):
        def generate(self, requests, progress=lambda *_: None):
            for one in requests:
                note("depth", one.layout.prompt, one.seed)
                if one.layout.prompt == "deep":
                    raise ZeroDivisionError("inside the depth model")
            return super().generate(requests, progress)


    @hookimpl
    def threedis_register_renderers(register):
        for target in (Counting, Failing, Dying, Hungry, Missing):
            register(target.__name__.lower(), f"{__name__}:{target.__name__}")


    @hookimpl
    def threedis_register_instance_detectors(register):
        register("fake-detector", "threedis_core.testing.fake_judges:FakeDetector")


    @hookimpl
    def threedis_register_metrics(register):
        register("fake-metric", "threedis_core.testing.fake_judges:FakeMetric")


    @hookimpl
    def threedis_register_depth_models(register):
        register("counted-depth", f"{__name__}:Depth")
'''


class Comparing:
    """Runs comparisons of one folder's layouts, and knows what was rendered."""

    def __init__(self, folder: Path, log: Path, registry: Any) -> None:
        self.folder, self.log, self.registry = folder, log, registry
        self.out = folder / "out"

    def layouts(self, *prompts: str) -> list[str]:
        """Write a layout for each prompt; their files."""
        files: list[str] = []
        for number, prompt in enumerate(prompts):
            layout = sample_layout(2).model_copy(update={"prompt": prompt})
            layout.save(self.folder / f"layout-{number}.yaml")
            files.append(str(self.folder / f"layout-{number}.yaml"))
        return files

    def __call__(self, count: int | list[str] = 3, **settings: Any) -> Comparison:
        prompts = (
            [f"scene-{number}" for number in range(count)] if isinstance(count, int) else count
        )
        asked: dict[str, Any] = {
            "layouts": settings.get("layouts") or self.layouts(*prompts),
            "renderers": "counting",
            "depth_models": "counted-depth",
            "seeds": [0, 1],
            "out": self.out,
            "registry": self.registry,
        }
        return compare(**{**asked, **settings})

    @property
    def rendered(self) -> Counter[str]:
        """How often each picture was rendered ("prompt seed"), each map ("depth prompt seed")."""
        found: Counter[str] = Counter()
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            kind, prompt, seed = line.split(" ")[:3]
            found[f"{prompt} {seed}" if kind == "render" else f"depth {prompt} {seed}"] += 1
        return found

    def files(self, folder: Path | None = None) -> dict[str, bytes]:
        """All that a comparison has made, without what tells when and by whom."""
        place = folder or self.out
        found = sorted(path for path in place.rglob("*") if path.is_file())
        told = {str(path.relative_to(place)): path.read_bytes() for path in found}
        return {name: data for name, data in told.items() if not name.startswith(TELL_TIMES)}

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind."""
        lines = [
            json.loads(line)
            for file in sorted((self.out / "events").glob("*.jsonl"))
            for line in file.read_text().splitlines()
        ]
        return [line for line in lines if line["kind"] == kind]


@pytest.fixture
def comparing(plugins, fakes_source, tmp_path, monkeypatch) -> Comparing:
    log = tmp_path / "log.txt"
    monkeypatch.setenv("THREEDIS_TEST_LOG", str(log))
    plugins.install("threedis-fakes", fakes_source)
    plugins.install("threedis-faults", FAULTS)
    folder = tmp_path / "work"
    folder.mkdir()
    loaded = load_plugins()  # all that are installed, as workers have them
    assert {"counting", "fake"} <= set(loaded.names("renderer"))
    return Comparing(folder, log, loaded)
