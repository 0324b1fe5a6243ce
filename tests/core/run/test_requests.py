"""What a run asks of every renderer: steps, guidance, a negative prompt, the hook on or off."""

from __future__ import annotations

import json

import numpy as np
import pytest

from threedis_core import OptionError, RunConfig, render, render_config
from threedis_core.run.folder import read_provenance
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


def pixels(run) -> list:
    return [np.asarray(image.image) for image in run.images]


def test_steps_of_a_run_are_the_steps_of_every_renderer(registry) -> None:
    told: list[tuple[str, int]] = []

    def note(stage: str, done: int, total: int) -> None:
        told.append((stage, total))

    names = ["fake", "pale"]
    render(LAYOUT, depth=DEPTH, renderers=names, steps=7, registry=registry, progress=note)
    assert {("fake: render", 7), ("pale: render", 7)} <= set(told)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guidance": 3.0}, "renderer 'recording' has no guidance scale; leave guidance out"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 1001}, "steps is 1001"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"negative_prompt": "a\x07"}, "negative_prompt.*control character"),
        ({"renderers": ["stepless"], "negative_prompt": "x"}, "'stepless' has no negative prompt"),
        ({"renderers": ["stepless"], "steps": 3}, "renderer 'stepless' has no steps to choose"),
        ({"depth_seed": 3}, "depth_seed is 3, which is for a depth model, but a depth map is give"),
        ({"depth_tries": 2}, "depth_tries is 2, which is for a depth model, but a depth map is gi"),
    ],
)
def test_what_a_renderer_does_not_have_is_refused_before_anything_renders(
    extras, calls, settings, message
) -> None:
    asked = {"renderers": ["recording", "fake"], **settings}
    with pytest.raises(OptionError, match=message):
        render(LAYOUT, depth=DEPTH, registry=extras, **asked)
    assert calls == []


def test_a_negative_prompt_takes_the_place_of_the_layouts(registry, tmp_path) -> None:
    layout = LAYOUT.model_copy(update={"negative_prompt": "fog"})
    asked = {"depth": DEPTH, "renderers": ["fake"], "registry": registry}
    assert render(layout, **asked).layout.negative_prompt == "fog"
    run = render(layout, negative_prompt="rain", out=tmp_path / "run", **asked)
    assert run.layout.negative_prompt == "rain"
    assert read_provenance(run.images[0].file)["layout"]["negative_prompt"] == "rain"
    assert render(layout, negative_prompt="", **asked).layout.negative_prompt == ""


def test_the_hook_is_on_or_off_or_both(registry, tmp_path) -> None:
    asked = {"depth": DEPTH, "renderers": ["fake"], "seeds": [0, 1], "registry": registry}
    on, off = render(LAYOUT, **asked), render(LAYOUT, control="none", **asked)
    both = render(LAYOUT, control="both", out=tmp_path / "run", **asked)
    kinds = [("on", 0), ("on", 1), ("none", 0), ("none", 1)]
    assert [(image.control, image.seed) for image in both.images] == kinds
    assert all(map(np.array_equal, pixels(both), pixels(on) + pixels(off)))
    assert not np.array_equal(pixels(on)[0], pixels(off)[0])
    names = ["fake-seed0.png", "fake-seed1.png", "fake-seed0-off.png", "fake-seed1-off.png"]
    assert [image.file.name for image in both.images] == names
    assert [image["control"] for image in both.record["images"]] == [kind for kind, _ in kinds]
    assert read_provenance(tmp_path / "run" / "fake-seed1-off.png")["control"] == "none"


def test_batches_hold_pictures_of_one_kind(extras, calls) -> None:
    asked = {"renderers": ["recording"], "control": "both", "seeds": range(3), "batch_size": 2}
    render(LAYOUT, depth=DEPTH, registry=extras, **asked)
    assert [seeds for what, seeds in calls if what == "render"] == [[0, 1], [2], [0, 1], [2]]


def test_a_run_json_says_what_was_asked_and_repeats_it(registry, tmp_path) -> None:
    asked = {"renderers": ["fake"], "steps": 2, "negative_prompt": "fog", "control": "none"}
    first = render(LAYOUT, depth=DEPTH, out=tmp_path / "run", registry=registry, **asked)
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert (config["steps"], config["negative_prompt"], config["control"]) == (2, "fog", "none")
    facts = read_provenance(first.images[0].file)
    assert (facts["steps"], facts["guidance"], facts["control"]) == (2, None, "none")
    again = render_config(RunConfig.load(tmp_path / "run" / "run.json"), registry=registry)
    assert again.images[0].provenance["pixel_checksum"] == facts["pixel_checksum"]


def test_a_renderer_without_controls_says_that_the_switch_does_nothing(extras) -> None:
    run = render(LAYOUT, depth=DEPTH, renderers=["stepless"], control="both", registry=extras)
    assert run.warnings == ("renderer 'stepless' has no controls; control=both changes nothing",)
