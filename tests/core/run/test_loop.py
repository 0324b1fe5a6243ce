from __future__ import annotations

import numpy as np
import pytest

from threedis_core import (
    Box,
    Instance,
    Layout,
    RenderError,
    RunConfig,
    render,
    render_config,
)
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)
BOX = Box.from_xyxy((0.4, 0, 0.6, 1))


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


def test_labels_tell_the_same_renderer_with_other_options_apart(registry, tmp_path) -> None:
    renderers = {"pale": {}, "pale@off": {"tint": 0.0}, "fake@pale": {"tint": 0.6}}
    run = render(LAYOUT, depth=DEPTH, renderers=renderers, registry=registry, out=tmp_path / "run")
    files = ["pale-seed0.png", "pale@off-seed0.png", "fake@pale-seed0.png"]
    assert [image.file.name for image in run.images] == files
    pale, off, same = (np.asarray(image.image) for image in run.images)
    assert (pale != off).any()
    assert (pale == same).all()
    assert [image["renderer"] for image in run.record["images"]] == list(renderers)
    again = render_config(RunConfig.load(tmp_path / "run" / "run.json"), registry=registry)
    assert [image.image for image in again.images] == [image.image for image in run.images]


def test_all_seeds_go_in_batches_and_each_renderer_is_closed(extras, calls) -> None:
    render(
        LAYOUT, depth=DEPTH, renderers=["recording"], seeds=range(5), batch_size=2, registry=extras
    )
    assert calls == [
        ("render", [0, 1]),
        ("render", [2, 3]),
        ("render", [4]),
        ("close", None),
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("failing", "renderer 'failing' failed: ZeroDivisionError: inside the model"),
        ("careless", "renderer 'careless' failed: .* of 3 x 3; expected 64 x 64"),
        ("forgetful", "renderer 'forgetful' failed: it returned 0 results for 1 requests"),
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


def test_progress_names_the_renderer(registry) -> None:
    calls: list[tuple[str, int, int]] = []

    def note(stage: str, done: int, total: int) -> None:
        calls.append((stage, done, total))

    render(LAYOUT, depth=DEPTH, renderers=["fake"], registry=registry, progress=note)
    assert calls[-2:] == [("fake: render", 3, 3), ("pictures", 1, 1)]


def test_a_renderer_that_cannot_be_closed_loses_no_picture(extras, tmp_path) -> None:
    out = tmp_path / "run"
    run = render(LAYOUT, depth=DEPTH, renderers=["unclosable"], out=out, registry=extras)
    assert run.warnings == ("renderer 'unclosable' could not be closed: KeyError: 'device'",)
    assert (out / "run.json").exists()
