from __future__ import annotations

import pytest

from threedis_core.cli import main
from threedis_core.errors import LayoutError, OptionError, PluginError
from threedis_core.plugin.hookspecs import hookimpl
from threedis_core.plugin.interfaces import TrainedOn
from threedis_core.plugin.registrations import PluginSource
from threedis_core.run.config import RunConfig
from threedis_core.run.layout_check.likely import likely_to_fail
from threedis_core.run.layout_check.models import check_for_models
from threedis_core.testing import sample_layout
from threedis_core.values.layout import Box, Instance, Layout

SEEN = TrainedOn(smallest_box=0.1, most_instances=3, most_overlap=0.5, sides=(128, 192))
A, B = (0.1, 0.1, 0.5, 0.5), (0.2, 0.2, 0.6, 0.6)


def layout(*boxes: tuple[float, float, float, float]) -> Layout:
    instances = tuple(Instance(prompt="a cube", box=Box.from_xyxy(box)) for box in boxes)
    return Layout(prompt="cubes", instances=instances)


@pytest.mark.parametrize(
    ("boxes", "size", "said"),
    [
        ([A, (0.7, 0.7, 0.75, 0.9)], (128, 128), "instances[1]: a side of 0.05 of the picture"),
        ([(x / 10, 0.5, x / 10 + 0.05, 1) for x in range(3)], (128, 128), "[2]: a side of 0.05"),
        ([A, (0.6, 0.1, 0.8, 0.3)] * 2, (128, 128), "4 instances, but it was trained on at most 3"),
        ([A, B, A], (128, 128), "instances[0] and [2] overlap by 1 of the smaller box"),
        ([A], (256, 160), "256 x 160 pixels, but it was trained on sides of 128 to 192"),
    ],
)
def test_what_a_model_has_not_seen_is_said(boxes, size, said: str) -> None:
    assert any(said in line for line in likely_to_fail(layout(*boxes), size, "it", SEEN))


def test_what_it_has_seen_is_not_and_nothing_is_where_nothing_is_known() -> None:
    assert likely_to_fail(layout(A, (0.35, 0.3, 0.9, 0.9)), (192, 128), "it", SEEN) == ()
    assert likely_to_fail(layout(A, A, A, A, A), (8, 8), "it", TrainedOn()) == ()
    assert likely_to_fail(layout(), (128, 128), "it", SEEN) == ()


def test_a_preset_says_what_its_model_has_seen(extras) -> None:
    class Plugin:
        @hookimpl
        def threedis_register_presets(self, register) -> None:
            register("schooled", "fake", {}, trained_on=TrainedOn(most_instances=1))

    extras.add(Plugin(), PluginSource("schooled", "1.0"))
    config = RunConfig.model_validate({"renderers": ["schooled", "fake"]})
    seen, no_depth = check_for_models(config, sample_layout(2), extras)
    assert seen.startswith("2 instances, but renderer 'schooled' was trained on at most 1")
    assert no_depth.startswith("the layout has no depth map; give one with --depth FILE")


def test_facts_of_another_type_are_refused(registry) -> None:
    class Plugin:
        @hookimpl
        def threedis_register_presets(self, register) -> None:
            register("schooled", "fake", {}, trained_on={"most_instances": 1})

    with pytest.raises(PluginError, match="expected a TrainedOn"):
        registry.add(Plugin(), PluginSource("schooled", "1.0"))


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"renderers": ["narrow"]}, LayoutError, "takes at most 1"),
        ({"renderers": ["fake"], "width": 60, "height": 60}, OptionError, "multiples of 8"),
        ({"depth_model": "nobody"}, Exception, "Unknown depth model 'nobody'"),
    ],
)
def test_what_certainly_fails_is_an_error(extras, asked, error, said: str) -> None:
    with pytest.raises(error, match=said):
        check_for_models(RunConfig.model_validate(asked), sample_layout(2), extras)


def test_the_command_warns_and_ends_well(tmp_path, capsys) -> None:
    small = Box.from_xyxy((0.1, 0.5, 0.15, 0.6))
    Layout(prompt="a sphere", instances=(Instance(prompt="a red sphere", box=small),)).save(
        tmp_path / "layout.yaml"
    )
    check = ["layout", "check", str(tmp_path / "layout.yaml"), "--depth-model", "pocket-depth"]
    with pytest.raises(SystemExit, match="0"):
        main(check)
    printed = capsys.readouterr()
    assert "ok, 1 instance" in printed.out
    assert "likely to fail: instances[0]: a side of 0.05 of the picture" in printed.err


def test_the_command_says_that_the_default_depth_model_cannot_draw_it(tmp_path, capsys) -> None:
    (tmp_path / "layout.yaml").write_text(
        "prompt: a dog\ninstances: [{prompt: a dog, box: [0.1, 0.1, 0.5, 0.5]}]\n"
    )
    with pytest.raises(SystemExit, match="0"):
        main(["layout", "check", str(tmp_path / "layout.yaml"), "--renderer", "pocket-sd15"])
    told = capsys.readouterr().err
    assert "give one with --depth FILE" in told
    assert "'pocket-depth', cannot draw it: instances[0] is 'dog'" in told


def test_colours_that_a_model_has_never_seen_are_named() -> None:
    known = TrainedOn(colours=("red", "blue"))
    prompts = ("a red ball", "a white sphere", "a ball on a brown floor", "an orange")
    made = layout(*[A] * len(prompts))
    pairs = zip(made.instances, prompts, strict=True)
    instances = tuple(one.model_copy(update={"prompt": prompt}) for one, prompt in pairs)
    lines = likely_to_fail(
        made.model_copy(update={"instances": instances}), (128, 128), "it", known
    )
    assert [line.partition(":")[0] for line in lines] == ["instances[1]", "instances[2]"]
    assert "'white'" in lines[0]
    assert "use one of red, blue" in lines[0]
