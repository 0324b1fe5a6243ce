from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import threedis_core
from threedis_core import (
    Box,
    Choice,
    DepthError,
    DepthMap,
    InputError,
    Instance,
    Layout,
    LayoutError,
    OptionError,
    PluginError,
    PluginRegistry,
    Regions,
    RenderError,
    RunConfig,
    WeightsError,
    render,
    render_config,
)
from threedis_core.plugin.hookspecs import hookimpl
from threedis_core.plugin.interfaces import Capabilities, RenderResult
from threedis_core.plugin.registrations import PluginSource
from threedis_core.refiners.boxes import BoxRefiner
from threedis_core.run.folder import default_run_folder, read_provenance
from threedis_core.run.plan import size_like
from threedis_core.testing import FakeDepthModel, FakeRenderer, sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)
BOX = Box.from_xyxy((0.4, 0, 0.6, 1))


class Recording(FakeRenderer):
    """Remembers what it was asked, for the tests of the loop around it."""

    calls: list[tuple[str, object]] = []  # noqa: RUF012

    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        self.calls.append(("render", [request.seed for request in requests]))
        return super().render(requests, progress)

    def close(self) -> None:
        self.calls.append(("close", None))


class Failing(FakeRenderer):
    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        raise ZeroDivisionError("inside the model")


class Careless(FakeRenderer):
    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        return [RenderResult(Image.new("RGB", (3, 3))) for _ in requests]


class Forgetful(FakeRenderer):
    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        return []


class Narrow(FakeRenderer):
    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            size_multiple=16,
            default_size=(128, 64),
            max_instances=1,
            masks=False,
            negative_prompt=False,
        )


class Broken(FakeRenderer):
    def __init__(self, options) -> None:
        raise KeyError("device")


class Repeating(FakeRenderer):
    def render(self, requests, progress=threedis_core.silent) -> list[RenderResult]:
        results = super().render(requests, progress)
        return [RenderResult(result.image, {}, ("long prompt",)) for result in results]


class Losing(BoxRefiner):
    def refine(self, layout, depth) -> Regions:
        raise KeyError("lost")


class Dropping(BoxRefiner):
    def refine(self, layout, depth) -> Regions:
        return Regions.from_layout(sample_layout(1), depth.width, depth.height)


class Unready(BoxRefiner):
    def check(self, layout) -> None:
        raise WeightsError(f"no weights for {len(layout.instances)} instances")


class Picky(FakeDepthModel):
    def generate(self, requests, progress=threedis_core.silent) -> list[DepthMap]:
        raise LayoutError("instances[0] is no solid")


class Extras:
    """Registers the classes above."""

    @hookimpl
    def threedis_register_renderers(self, register) -> None:
        for target in (Recording, Failing, Careless, Forgetful, Narrow, Broken, Repeating):
            register(target.__name__.lower(), f"{__name__}:{target.__name__}")

    @hookimpl
    def threedis_register_depth_models(self, register) -> None:
        register("picky", f"{__name__}:Picky")

    @hookimpl
    def threedis_register_region_refiners(self, register) -> None:
        for target in (Losing, Dropping, Unready):
            register(target.__name__.lower(), f"{__name__}:{target.__name__}")


@pytest.fixture
def extras(registry) -> PluginRegistry:
    registry.add(Extras(), PluginSource("extras", "1.0"))
    Recording.calls.clear()
    return registry


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_gives_one_picture_per_renderer_and_seed(registry) -> None:
    run = render(LAYOUT, depth=DEPTH, renderers=["fake", "pale"], seeds=[3, 1], registry=registry)
    assert [(image.renderer, image.seed) for image in run.images] == [
        ("fake", 3),
        ("fake", 1),
        ("pale", 3),
        ("pale", 1),
    ]
    assert all(image.image.size == (64, 64) for image in run.images)
    assert run.folder is None
    assert run.images[0].file is None


def test_a_run_folder_holds_everything_and_nothing_half(registry, tmp_path) -> None:
    out = tmp_path / "deep" / "run"
    run = render(LAYOUT, depth=DEPTH, renderers=["fake"], seeds=[0, 7], out=out, registry=registry)
    assert files(out) == {
        "run.json",
        "layout.json",
        "layout.png",
        "depth.png",
        "regions.png",
        "fake-seed0.png",
        "fake-seed7.png",
    }
    assert Layout.load(out / "layout.json") == LAYOUT
    assert DepthMap.load(out / "depth.png").checksum() == run.depth.checksum()
    for image in run.images:
        assert np.array_equal(np.asarray(Image.open(image.file)), np.asarray(image.image))


def test_run_json_tells_how_the_pictures_came_to_be(registry, tmp_path) -> None:
    render(
        LAYOUT,
        depth_model=Choice(name="fake-depth", options={"noise": 0.2}),
        depth_seed=5,
        renderers={"pale": {"steps": 2}},
        out=tmp_path / "run",
        registry=registry,
    )
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["threedis_run"] == 1
    assert record["versions"]["threedis"] == threedis_core.__version__
    assert record["versions"]["threedis-fakes"] == "1.0"
    assert record["depth"]["model"] == "fake-depth"
    assert record["depth"]["options"] == {"noise": 0.2}
    assert record["depth"]["seed"] == 5
    assert set(record["seconds"]) == {"depth", "regions", "pale"}
    (picture,) = record["images"]
    assert picture["file"] == "pale-seed0.png"
    assert picture["asked"] == {"steps": 2}
    assert picture["options"] == {"steps": 2, "tint": 0.1, "max_instances": 32}
    assert picture["backend"] == {"fake": True}


def test_labels_tell_the_same_renderer_with_other_options_apart(registry, tmp_path) -> None:
    renderers = {"pale": {}, "pale@off": {"tint": 0.0}, "fake@pale": {"tint": 0.1}}
    run = render(LAYOUT, depth=DEPTH, renderers=renderers, registry=registry, out=tmp_path / "run")
    files = ["pale-seed0.png", "pale@off-seed0.png", "fake@pale-seed0.png"]
    assert [image.file.name for image in run.images] == files
    pale, off, same = (np.asarray(image.image) for image in run.images)
    assert (pale != off).any()
    assert (pale == same).all()
    assert [image["renderer"] for image in run.record["images"]] == list(renderers)
    again = render_config(RunConfig.load(tmp_path / "run" / "run.json"), registry=registry)
    assert [image.image for image in again.images] == [image.image for image in run.images]


def test_an_unknown_option_lists_the_known_ones_before_anything_renders(extras) -> None:
    renderers = {"recording": {}, "fake@second": {"tinte": 1}}
    with pytest.raises(OptionError, match="'tinte' for renderer 'fake'") as caught:
        render(LAYOUT, depth=DEPTH, renderers=renderers, registry=extras)
    assert "It knows: max_instances, steps, tint. Did you mean 'tint'?" in str(caught.value)
    assert Recording.calls == []


def test_a_picture_carries_its_own_provenance(registry, tmp_path) -> None:
    run = render(LAYOUT, depth=DEPTH, renderers=["fake"], out=tmp_path / "run", registry=registry)
    provenance = read_provenance(tmp_path / "run" / "fake-seed0.png")
    assert provenance == run.images[0].provenance
    assert provenance["seed"] == 0
    assert Layout.from_dict(provenance["layout"]) == LAYOUT
    assert provenance["depth_checksum"] == run.depth.checksum()


def test_a_picture_without_provenance_says_so(tmp_path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "plain.png")
    with pytest.raises(OptionError, match="no ThreeDIS provenance"):
        read_provenance(tmp_path / "plain.png")


def test_the_same_run_writes_the_same_bytes(registry, tmp_path) -> None:
    for name in ("one", "two"):
        render(
            LAYOUT,
            depth_model="fake-depth",
            depth_cache=False,
            renderers=["fake"],
            out=tmp_path / name,
            registry=registry,
        )
    for name in files(tmp_path / "one") - {"run.json"}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("size", [(None, None), (96, 64)])
def test_a_run_json_renders_the_same_pictures_again(registry, tmp_path, size) -> None:
    width, height = size
    render(
        LAYOUT,
        depth_model="fake-depth",
        depth_seed=3,
        renderers={"fake": {"tint": 0.7}, "pale": {}},
        seeds=[1, 2],
        width=width,
        height=height,
        out=tmp_path / "one",
        registry=registry,
    )
    config = RunConfig.load(tmp_path / "one" / "run.json")
    again = config.overridden({"out": tmp_path / "two"})
    render_config(again, registry=registry)
    for name in files(tmp_path / "one") - {"run.json"}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_existing_run_is_never_overwritten(registry, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("precious")
    with pytest.raises(OptionError, match="not empty"):
        render(LAYOUT, depth=DEPTH, renderers=["fake"], out=tmp_path / "run", registry=registry)
    assert files(tmp_path / "run") == {"mine.txt"}
    with pytest.raises(OptionError, match="is a file"):
        render(
            LAYOUT,
            depth=DEPTH,
            renderers=["fake"],
            out=tmp_path / "run" / "mine.txt",
            registry=registry,
        )


NOW = datetime(2025, 1, 2, 3, 4, 5)


def test_default_folders_are_taken_at_once_and_do_not_collide(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        default_run_folder("A red cube, and é!", NOW) as first,
        default_run_folder("A red cube, and é!", NOW) as second,
        default_run_folder("A red cube, and é!", NOW) as third,
    ):
        assert first == Path("runs/20250102-030405-a-red-cube-and")
        assert [second.name[-2:], third.name[-2:]] == ["-2", "-3"]
        with default_run_folder("红色", NOW) as other:
            assert other.name == "20250102-030405-layout"
        (second / "picture.png").write_bytes(b"x")
    assert files(tmp_path / "runs") == {second.name}, "what stayed empty is gone"


def test_a_run_that_wrote_nothing_leaves_no_default_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt), default_run_folder("a", NOW):
        raise KeyboardInterrupt
    assert files(tmp_path) == set()
    Path("runs").write_text("mine")
    with (
        pytest.raises(OptionError, match="runs is a file; expected a folder"),
        default_run_folder("a", NOW),
    ):
        raise AssertionError("not reached")


def test_a_folder_that_was_filled_meanwhile_is_not_written_into(extras, tmp_path) -> None:
    out = tmp_path / "run"
    config = RunConfig(renderers={"recording": {}}, out=out)

    def another_run(*_: object) -> None:
        out.mkdir(exist_ok=True)
        (out / "run.json").write_text("theirs")

    with pytest.raises(OptionError, match="not empty"):
        render_config(config, layout=LAYOUT, depth=DEPTH, registry=extras, progress=another_run)
    assert files(out) == {"run.json"}


def test_a_place_that_cannot_be_written_is_refused_before_rendering(extras, tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    out = tmp_path / "file" / "run"
    with pytest.raises(OptionError, match="is no folder"):
        render(LAYOUT, depth=DEPTH, renderers=["recording"], out=out, registry=extras)
    assert Recording.calls == []


def test_all_seeds_go_in_batches_and_each_renderer_is_closed(extras) -> None:
    render(
        LAYOUT, depth=DEPTH, renderers=["recording"], seeds=range(5), batch_size=2, registry=extras
    )
    assert Recording.calls == [
        ("render", [0, 1]),
        ("render", [2, 3]),
        ("render", [4]),
        ("close", None),
    ]


def test_everything_is_validated_before_anything_is_rendered_or_written(extras, tmp_path) -> None:
    for renderers in ({"recording": {}, "fakee": {}}, {"recording": {}, "fake": {"stepz": 1}}):
        with pytest.raises(InputError):
            render(LAYOUT, depth=DEPTH, renderers=renderers, out=tmp_path / "run", registry=extras)
    assert Recording.calls == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seeds": [-1]}, OptionError, "seed is -1"),
        ({"seeds": []}, OptionError, "seeds"),
        ({"width": 65, "height": 64}, OptionError, "width is 65.*multiples of 8; use 64"),
        ({"height": 64}, OptionError, "height was given without width"),
        ({"width": 64}, OptionError, "width was given without height"),
        ({"width": 20000, "height": 64}, OptionError, "width is 20000"),
        ({"depth_model": "fake-depth"}, OptionError, "both given"),
        ({"depth": None, "depth_model": "planez"}, InputError, "Unknown depth model 'planez'"),
        ({"region_refiner": "sam"}, InputError, "Unknown region refiner 'sam'"),
        ({"renderers": []}, OptionError, "no renderer was named"),
        ({"renderers": ["narrow"]}, LayoutError, "2 instances, but renderer 'narrow' takes at m"),
        ({"depth": None}, OptionError, "give one with --depth FILE"),
        ({"batch_size": 0}, OptionError, "batch_size"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(extras, arguments, error, message) -> None:
    asked = {"depth": DEPTH, "renderers": ["fake"], **arguments}
    with pytest.raises(error, match=message) as caught:
        render(LAYOUT, registry=extras, **asked)
    assert "\n" not in str(caught.value)


def test_a_depth_model_that_was_asked_for_fails_with_its_own_words(extras) -> None:
    with pytest.raises(LayoutError, match=r"^instances\[0\] is no solid$"):
        render(LAYOUT, depth_model="picky", renderers=["fake"], registry=extras)


def test_a_default_depth_model_that_does_not_fit_asks_for_a_depth_map(extras, monkeypatch) -> None:
    monkeypatch.setattr("threedis_core.run.plan.DEFAULT_DEPTH_MODEL", "picky")
    with pytest.raises(OptionError, match=r"--depth FILE.*'picky', cannot draw it: instances"):
        render(LAYOUT, renderers=["fake"], registry=extras)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("failing", "renderer 'failing' failed: ZeroDivisionError: inside the model"),
        ("careless", r"renderer 'careless' failed: .*\(3, 3\); expected \(64, 64\)"),
        ("forgetful", "renderer 'forgetful' failed: it returned 0 pictures for 1 requests"),
    ],
)
def test_a_backends_failure_names_the_backend(extras, name, message) -> None:
    with pytest.raises(RenderError, match=message):
        render(LAYOUT, depth=DEPTH, renderers=[name], registry=extras)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("losing", "region refiner 'losing' failed: KeyError: 'lost'"),
        ("dropping", "region refiner 'dropping' failed: it returned 1 regions for 2 instances"),
    ],
)
def test_a_refiners_failure_names_the_refiner(extras, name, message) -> None:
    with pytest.raises(RenderError, match=message):
        render(LAYOUT, depth=DEPTH, region_refiner=name, renderers=["fake"], registry=extras)


def test_what_a_refiner_lacks_is_said_before_a_depth_map_is_made(extras) -> None:
    asked = {"depth_model": "picky", "renderers": ["fake"], "registry": extras}
    with pytest.raises(WeightsError, match="no weights for 2 instances"):
        render(LAYOUT, region_refiner="unready", **asked)
    with pytest.raises(LayoutError, match="is no solid"):
        render(LAYOUT, region_refiner="boxes", **asked)


def test_a_backend_that_cannot_be_made_is_named(extras) -> None:
    message = "renderer 'broken' of extras 1.0 .*cannot be made: KeyError: 'device'"
    with pytest.raises(PluginError, match=message):
        render(LAYOUT, depth=DEPTH, renderers=["broken"], registry=extras)


def test_the_same_warning_is_given_once(extras) -> None:
    run = render(LAYOUT, depth=DEPTH, renderers=["repeating"], seeds=range(3), registry=extras)
    assert run.warnings == ("long prompt",)
    assert run.record["warnings"] == ["long prompt"]
    assert [image.warnings for image in run.images] == [("long prompt",)] * 3


def test_masks_keep_their_size_beside_a_smaller_depth_map(registry) -> None:
    pixels = np.zeros((512, 512), dtype=bool)
    pixels[:, 250:253] = True
    layout = Layout(prompt="a", instances=(Instance(prompt="b", box=BOX, mask=pixels),))
    run = render(layout, depth=DEPTH, renderers=["fake"], registry=registry)
    assert (run.regions.pixel_masks(512, 512)[0] == pixels).all()
    assert (run.regions.width, run.regions.height) == (512, 512)
    assert run.images[0].image.size == (64, 64)


def test_finished_pictures_stay_when_a_later_renderer_fails(extras, tmp_path) -> None:
    with pytest.raises(RenderError):
        render(
            LAYOUT,
            depth=DEPTH,
            renderers=["fake", "failing"],
            out=tmp_path / "run",
            registry=extras,
        )
    assert "fake-seed0.png" in files(tmp_path / "run")
    assert "run.json" not in files(tmp_path / "run")


def test_the_size_is_the_one_asked_for_then_the_layouts_then_the_default(registry) -> None:
    def size(layout: Layout, depth: DepthMap = DEPTH, **asked) -> tuple[int, int]:
        run = render(layout, depth=depth, renderers=["fake"], registry=registry, **asked)
        return run.images[0].image.size

    sized = LAYOUT.model_copy(update={"width": 80, "height": 96})
    assert size(LAYOUT) == (64, 64)
    assert size(sized) == (80, 96)
    assert size(sized, width=128, height=64) == (128, 64)
    with pytest.raises(OptionError, match="width was given without height; give both or neither"):
        size(sized, width=128)
    assert size(LAYOUT, sample_depth(LAYOUT, 512, 512)) == (64, 64)
    assert size(LAYOUT, sample_depth(LAYOUT, 256, 64)) == (128, 32)


def test_default_sizes_keep_the_depth_maps_proportions() -> None:
    capabilities = Capabilities(size_multiple=8, default_size=(512, 512))
    assert size_like((1920, 1080), capabilities) == (680, 384)
    assert size_like((100, 100), capabilities) == (512, 512)
    assert size_like((1, 10_000), capabilities)[0] == 8


def test_what_has_no_effect_is_a_warning(extras) -> None:
    layout = sample_layout(1).model_copy(update={"negative_prompt": "blurry"})
    run = render(layout, depth=DEPTH, renderers=["narrow"], width=128, height=64, registry=extras)
    assert any("no negative prompt" in line for line in run.warnings)
    assert any("stretched by 2.00" in line for line in run.warnings)


def test_progress_names_the_renderer(registry) -> None:
    calls: list[tuple[str, int, int]] = []

    def note(stage: str, done: int, total: int) -> None:
        calls.append((stage, done, total))

    render(LAYOUT, depth=DEPTH, renderers=["fake"], registry=registry, progress=note)
    assert calls[-1] == ("fake: render", 3, 3)


def test_a_config_reads_its_files(registry, tmp_path) -> None:
    LAYOUT.save(tmp_path / "scene.yaml")
    DEPTH.save(tmp_path / "depth.png")
    config = RunConfig(
        layout=tmp_path / "scene.yaml", depth=tmp_path / "depth.png", renderers={"fake": {}}
    )
    assert len(render_config(config, registry=registry).images) == 1
    with pytest.raises(DepthError, match=r"none\.png"):
        render_config(config.overridden({"depth": tmp_path / "none.png"}), registry=registry)
