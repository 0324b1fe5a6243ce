from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from threedis_core.errors import OptionError
from threedis_core.plugin.options import validate_options
from threedis_core.run.config import Choice, RunConfig
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout


def load(tmp_path: Path, text: str, name: str = "run.yaml") -> RunConfig:
    file = tmp_path / name
    file.write_text(text)
    return RunConfig.load(file)


def test_renderers_may_be_a_list_or_a_mapping(tmp_path) -> None:
    assert load(tmp_path, "renderers: [a, b]").renderers == {"a": {}, "b": {}}
    assert load(tmp_path, "renderers: {a: {steps: 3}, b: }").renderers == {
        "a": {"steps": 3},
        "b": {},
    }


def test_a_backend_may_be_named_with_or_without_options(tmp_path) -> None:
    assert load(tmp_path, "depth_model: planes").depth_model == Choice(name="planes")
    config = load(tmp_path, "region_refiner: {name: sam, options: {size: 3}}")
    assert config.region_refiner == Choice(name="sam", options={"size": 3})


def test_paths_in_a_file_are_relative_to_it(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    config = load(tmp_path, "{layout: ../scene.yaml, depth: d.png, out: o}", "sub/run.yaml")
    assert config.layout == tmp_path / "sub/../scene.yaml"
    assert config.depth == tmp_path / "sub/d.png"
    assert config.out == tmp_path / "sub/o"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seedz: [1]", r"Unknown option 'seedz' for config .*Did you mean 'seeds'\?"),
        ("seeds: []", "seeds is .*at least 1"),
        ("seeds: [1, 1]", "same seed is there twice"),
        ("seeds: [one]", "seeds.0 is 'one'"),
        ("width: 0", "width is 0"),
        ("renderers: [a, a]", "'a' is named twice"),
        ("renderers: 3", "renderers is 3"),
        ("renderers: [a@]", "'a@' has the label ''; expected renderer@label"),
        ("renderers: {a@../x: {}}", "has the label '../x'; expected"),
        ("[1, 2]", "expected a mapping"),
        ("a: &x 1", "anchors"),
        ("1: 2", "The key 1 for config .*run.yaml is no text; quote it"),
        ("null: 2", "The key None for config"),
        ("renderers: {a: {1: 2}}", "renderers.a.1"),
        ("{", "not YAML"),
        ("", "empty"),
    ],
)
def test_a_wrong_config_is_refused_in_one_line(tmp_path, text, message) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "run.yaml" in str(caught.value)


def test_a_missing_config_is_refused(tmp_path) -> None:
    with pytest.raises(OptionError, match=r"nowhere\.yaml"):
        RunConfig.load(tmp_path / "nowhere.yaml")


def test_the_config_of_an_earlier_run_is_read_from_its_run_json(tmp_path) -> None:
    document = {"threedis_run": 1, "config": {"seeds": [4], "layout": "layout.json"}}
    config = load(tmp_path, json.dumps(document), "run.json")
    assert config.seeds == (4,)
    assert config.layout == tmp_path / "layout.json"


CONFIG = RunConfig.model_validate(
    {"renderers": {"a": {"steps": 1}, "b": {}}, "depth_model": "planes"}
)


def test_a_setting_without_a_name_goes_to_every_renderer() -> None:
    config = CONFIG.with_settings(["steps=30", "loras=[{path: x, weight: 0.5}]"])
    options = {"steps": 30, "loras": [{"path": "x", "weight": 0.5}]}
    assert config.renderers == {"a": options, "b": options}
    assert config.depth_model == Choice(name="planes")


def test_a_setting_with_a_name_goes_to_that_one_and_wins_in_any_order() -> None:
    for settings in (["b.steps=2", "steps=1"], ["steps=1", "b.steps=2"]):
        config = CONFIG.with_settings(settings)
        assert config.renderers == {"a": {"steps": 1}, "b": {"steps": 2}}


def test_a_renderer_is_there_several_times_under_labels_with_options_of_their_own(tmp_path) -> None:
    config = load(tmp_path, "renderers: {a: {steps: 1}, a@off: {control_steps: 0}, a@long: }")
    assert config.renderers == {"a": {"steps": 1}, "a@off": {"control_steps": 0}, "a@long": {}}
    config = config.with_settings(["a@long.steps=9", "a.tint=0.5", "guidance=2"])
    assert config.renderers == {
        "a": {"steps": 1, "tint": 0.5, "guidance": 2},
        "a@off": {"control_steps": 0, "guidance": 2},
        "a@long": {"steps": 9, "guidance": 2},
    }


def test_flags_choose_among_labels() -> None:
    config = RunConfig.model_validate({"renderers": {"a": {}, "a@off": {"steps": 2}}})
    assert config.overridden({"renderers": ["a@off", "a@new"]}).renderers == {
        "a@off": {"steps": 2},
        "a@new": {},
    }


def test_settings_reach_the_depth_model_and_the_refiner() -> None:
    config = CONFIG.with_settings(["planes.noise=0.5", "boxes.margin=null"])
    assert config.depth_model == Choice(name="planes", options={"noise": 0.5})
    assert config.region_refiner.options == {"margin": None}


def test_settings_leave_the_config_as_it_was() -> None:
    CONFIG.with_settings(["steps=30"])
    assert CONFIG.renderers["a"] == {"steps": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [("30", 30), ("1e-3", 0.001), ("true", True), ("null", None), ("a=b", "a=b"), ("", "")],
)
def test_values_of_settings_are_yaml(text, value) -> None:
    assert CONFIG.with_settings([f"a.x={text}"]).renderers["a"]["x"] == value


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("steps", "expected option=value"),
        ("=3", "expected option=value"),
        (".steps=3", "expected option=value"),
        ("a.=3", "expected option=value"),
        ("a@off.steps=1", "'a@off' is not chosen. Chosen: a, b, boxes, planes"),
        ("planez.noise=1", "'planez' is not chosen. Chosen: a, b, boxes, planes. Did you mean"),
        ("steps=*x", "--set steps: .*aliases"),
        ("steps=[", "--set steps: not YAML"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(setting, message) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        CONFIG.with_settings([setting])
    assert "\n" not in str(caught.value)


def test_a_setting_for_every_renderer_needs_one() -> None:
    with pytest.raises(OptionError, match="no renderer is chosen"):
        RunConfig().with_settings(["steps=1"])


def test_flags_override_the_file_and_keep_a_renderers_options() -> None:
    config = CONFIG.overridden({"renderers": ["a", "c"], "seeds": [7], "width": None})
    assert config.renderers == {"a": {"steps": 1}, "c": {}}
    assert config.seeds == (7,)
    assert config.depth_model == Choice(name="planes")


def test_a_depth_file_replaces_a_depth_model_and_the_other_way_round() -> None:
    config = CONFIG.overridden({"depth": Path("d.png")})
    assert (config.depth, config.depth_model) == (Path("d.png"), None)
    assert config.overridden({"depth_model": "planes"}).depth is None


def test_a_wrong_flag_is_refused() -> None:
    with pytest.raises(OptionError, match=r"the command line: renderers.*named twice"):
        CONFIG.overridden({"renderers": ["a", "a"]})


def test_a_config_survives_yaml(tmp_path) -> None:
    text = yaml.safe_dump(CONFIG.model_dump(mode="json", exclude_none=True))
    assert load(tmp_path, text) == CONFIG


def test_a_config_without_a_layout_says_so() -> None:
    with pytest.raises(OptionError, match="no layout: give a layout file"):
        RunConfig().read_layout()


def test_steps_and_guidance_of_a_run_stand_beside_no_option_of_that_name() -> None:
    with pytest.raises(OptionError, match=r"steps is 5 for every renderer, and 1 .* of 'a'; give"):
        validate_options(RunConfig, {"steps": 5, "renderers": {"a": {"steps": 1}}}, "render")
    asked = RunConfig(renderers={"a": {}, "b": {}}, guidance=2.0)
    with pytest.raises(OptionError, match=r"--set: guidance is 2\.0 for every renderer, and 3"):
        asked.with_settings(["b.guidance=3"])


def test_steps_as_a_flag_replace_those_of_the_file() -> None:
    config = RunConfig(renderers={"a": {"steps": 1, "tint": 0}, "b": {}}).overridden({"steps": 9})
    assert (config.steps, config.renderers) == (9, {"a": {"tint": 0}, "b": {}})


@pytest.mark.parametrize(
    ("text", "control"),
    [("none", "none"), ("off", "none"), ("'off'", "none"), ("on", "on"), ("both", "both")],
)
def test_the_control_is_a_word_or_what_yaml_makes_of_it(tmp_path, text, control) -> None:
    assert load(tmp_path, f"control: {text}").control == control


def test_another_control_is_refused(tmp_path) -> None:
    with pytest.raises(OptionError, match="control is None: expected 'on', 'none' or 'both"):
        load(tmp_path, "control: null")


def test_a_layout_is_no_config(tmp_path) -> None:
    with pytest.raises(OptionError, match=r"run\.yaml is a layout; .* without --config"):
        load(tmp_path, "{prompt: a, instances: []}")


def test_what_is_for_a_depth_model_beside_a_depth_map_is_refused() -> None:
    for name, value in (("depth_seed", 0), ("depth_tries", 2)):
        flag = f"--{name.replace('_', '-')}"
        with pytest.raises(OptionError, match=f"{flag} is for a depth model, but a depth map is"):
            RunConfig().overridden({"depth": "d.png", name: value})
    repeated = RunConfig(depth=Path("run/depth.png"))
    with pytest.raises(OptionError, match="given in the config: name a --depth-model to make"):
        repeated.overridden({"depth_seed": 5})
    again = repeated.overridden({"depth_seed": 5, "depth_model": "planes"})
    assert (again.depth, again.depth_seed) == (None, 5)


def test_the_default_depth_model_has_settings_though_nobody_named_it() -> None:
    config = RunConfig(renderers={"a": {}}).with_settings(["pocket-depth.steps=2"])
    assert config.depth_model == Choice(name="pocket-depth", options={"steps": 2})
    assert RunConfig(renderers={"a": {}}).with_settings(["steps=2"]).depth_model is None
    with pytest.raises(OptionError, match=r"a, boxes, pocket-depth\. Did you mean 'pocket-d"):
        RunConfig(renderers={"a": {}}).with_settings(["pocket-depht.steps=2"])
    with pytest.raises(OptionError, match="'pocket-depth' is not chosen"):
        RunConfig(depth=Path("d.png")).with_settings(["pocket-depth.steps=2"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"layout": Layout}, "RunConfig: layout is .*: expected the name of a file or folder"),
        ({"layout": Layout(prompt="x")}, r"render_config\(config, layout=..., depth=...\)"),
        ({"depth": DepthMap([[0.5]])}, r"render_config\(config, layout=..., depth=...\)"),
        ({"seeds": 3}, "RunConfig: seeds is 3: expected a list$"),
        ({"renderers": 3}, "RunConfig: renderers is 3: expected a mapping of names to values$"),
        ({"layuot": "a.yaml"}, "layuot is not a known field; .*Did you mean 'layout'"),
    ],
)
def test_a_config_made_in_python_is_refused_in_our_own_words(fields, said) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        RunConfig(**fields)
    assert "\n" not in str(caught.value)
    assert caught.value.path == next(iter(fields))
