"""Values of a wrong type are refused in our own words, before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from threedis_core import Engine, OptionError, Previews, RunConfig, render, render_config
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


@pytest.mark.parametrize(
    ("asked", "path", "message"),
    [
        ({"layout": ["a.yaml"]}, "layout[0]", r"type str; expected a Layout: use read_layout"),
        ({"layout": [LAYOUT, None]}, "layout[1]", "type NoneType; expected a Layout"),
        ({"layout": []}, "layout", "expected at least one"),
        ({"progress": 3}, "progress", r"progress is 3; expected a function of \(stage, done"),
        ({"engine": "mine"}, "engine", r"type str; expected an Engine: use Engine\(\)"),
        ({"registry": "mine"}, "registry", r"expected a PluginRegistry: use load_plugins\(\)"),
        ({"seeds": []}, "seeds", r"seeds is \[\]: expected at least 1 in the list"),
        ({"negative_prompt": "x" * 10_001}, "negative_prompt", "expected at most 10000 charac"),
    ],
)
def test_render_says_what_to_pass(registry, asked, path, message) -> None:
    given: dict[str, Any] = {"layout": LAYOUT, "depth": DEPTH, "renderers": "fake"}
    given |= {"registry": None if "engine" in asked else registry} | asked
    with pytest.raises(OptionError, match=message) as caught:
        render(given.pop("layout"), **given)
    assert (caught.value.code, caught.value.path) == ("wrong-value", path)


def test_render_config_needs_a_config(registry) -> None:
    with pytest.raises(OptionError, match=r"type NoneType; expected a RunConfig"):
        render_config(None, layout=LAYOUT, registry=registry)  # type: ignore[arg-type]
    render_config(RunConfig(renderers=["fake"]), layout=LAYOUT, depth=DEPTH, registry=registry)


@pytest.mark.parametrize("limit", ["2GB", float("nan"), 1.5, True, -1])
def test_a_limit_that_is_no_number_of_bytes_is_refused(limit) -> None:
    with pytest.raises(OptionError, match=r"memory_limit is .*; expected a whole number"):
        Engine(memory_limit=limit)


def test_a_limit_may_be_a_number_of_numpy(registry) -> None:
    Engine(memory_limit=np.int64(5), registry=registry).close()


@pytest.mark.parametrize("deadline", ["5", float("nan"), 0, -1])
def test_a_deadline_that_is_no_time_is_refused(registry, deadline) -> None:
    with Engine(registry=registry) as engine, pytest.raises(OptionError, match="deadline is "):
        engine.submit(LAYOUT, depth=DEPTH, renderers="fake", deadline=deadline)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"previews": 5}, r"type int; expected a Previews: use Previews\(show, every=5\)"),
        ({"progress": None}, "progress is None; expected a function"),
    ],
)
def test_a_job_nobody_can_watch_is_refused_at_once(registry, asked, message) -> None:
    with Engine(registry=registry) as engine, pytest.raises(OptionError, match=message):
        engine.submit(LAYOUT, depth=DEPTH, renderers="fake", **asked)


@pytest.mark.parametrize(
    ("asked", "path"),
    [({"every": 0}, "every"), ({"every": "5"}, "every"), ({"show": 3}, "show")],
)
def test_previews_that_cannot_be_shown_are_refused(asked, path) -> None:
    with pytest.raises(OptionError, match=rf"{path} is .*; expected ") as caught:
        Previews(**asked)
    assert caught.value.path == f"previews.{path}"
