"""Several maps, the best of which a run uses; and what is said of instances that are missing."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest

from threedis_core import DepthMap, Run, render
from threedis_core.cli import main
from threedis_core.plugin.hookspecs import hookimpl
from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.presence.measure import SEEN
from threedis_core.run.stages.depth import STRIDE, try_seeds
from threedis_core.testing import FakeDepthModel, sample_depth, sample_layout

LAYOUT = sample_layout(3)


class Losing(FakeDepthModel):
    """Leaves out the last two instances, but for one seed the last one, for another one none."""

    calls: ClassVar[list[list[int]]] = []

    def generate(self, requests, progress=lambda *step: None) -> list[DepthMap]:
        self.calls.append([request.seed for request in requests])
        return [self._draw(request) for request in requests]

    def _draw(self, request: DepthRequest) -> DepthMap:
        kept = {2 * STRIDE: 3, STRIDE: 2}.get(request.seed, 1)
        some = request.layout.model_copy(update={"instances": request.layout.instances[:kept]})
        return sample_depth(some, request.width, request.height)


class Stubborn(Losing):
    usual_tries: ClassVar[int] = 2


class Plugin:
    @hookimpl
    def threedis_register_depth_models(self, register) -> None:
        register("losing", f"{__name__}:Losing")
        register("stubborn", f"{__name__}:Stubborn")


@pytest.fixture
def losing(registry: PluginRegistry, tmp_path, monkeypatch) -> PluginRegistry:
    registry.add(Plugin(), PluginSource("losing", "1.0"))
    monkeypatch.setenv("THREEDIS_CACHE", str(tmp_path / "cache"))
    Losing.calls.clear()
    return registry


def run(registry: PluginRegistry, **changes) -> Run:
    asked = {"depth_model": "losing", "renderers": ["fake"], "width": 128, "height": 128}
    return render(LAYOUT, registry=registry, **{**asked, **changes})


def seen(made: Run) -> list[bool]:
    return [score is not None and score >= SEEN for score in made.presence]


def test_what_is_missing_is_a_warning_that_names_it(losing) -> None:
    made = run(losing)
    assert seen(made) == [True, False, False]
    assert [line.partition(" is likely")[0] for line in made.warnings] == [
        f"instances[{number}] ({LAYOUT.instances[number].prompt!r})" for number in (1, 2)
    ]
    assert all("--depth-tries" in line for line in made.warnings)


def test_a_depth_map_that_is_given_is_judged_as_well(losing) -> None:
    fewer = LAYOUT.model_copy(update={"instances": LAYOUT.instances[:2]})
    made = run(losing, depth_model=None, depth=sample_depth(fewer, 128, 128))
    assert seen(made) == [True, True, False]
    (warning,) = made.warnings
    assert "see whether the depth map belongs to this layout" in warning
    assert made.record["depth"]["presence"][:2] == [round(one, 3) for one in made.presence[:2]]


@pytest.mark.parametrize(("tries", "found"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_the_map_with_most_instances_is_used(losing, tries: int, found: int) -> None:
    made = run(losing, depth_tries=tries)
    assert sum(seen(made)) == found
    assert Losing.calls == [try_seeds(0, tries)], "all tries are made in one call"
    depth = made.record["depth"]
    assert depth["seed"] == STRIDE * (found - 1)
    assert [one["seed"] for one in depth["tries"]] == try_seeds(0, tries)
    assert depth["tries"][found - 1]["presence"] == depth["presence"]
    json.dumps(made.record)


def test_tries_are_kept_and_found_one_by_one(losing) -> None:
    run(losing)
    first = run(losing, depth_tries=3)
    assert Losing.calls == [[0], [STRIDE, 2 * STRIDE]]
    again = run(losing, depth_tries=3)
    assert len(Losing.calls) == 2
    assert (first.record["depth"]["cached"], again.record["depth"]["cached"]) == (False, True)
    assert np.array_equal(first.depth.values, again.depth.values)
    assert run(losing, depth_seed=2 * STRIDE).depth.checksum() == first.depth.checksum()


def test_a_depth_model_may_want_more_tries_than_one(losing) -> None:
    assert len(run(losing, depth_model="stubborn").record["depth"]["tries"]) == 2
    assert len(run(losing, depth_model="stubborn", depth_tries=1).record["depth"]["tries"]) == 1


def test_seeds_of_tries_stay_in_range_and_differ() -> None:
    seeds = try_seeds(2**63 - 1, 64)
    assert len(set(seeds)) == 64
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_run_json_of_several_tries_renders_from_its_map(losing, tmp_path) -> None:
    run(losing, depth_tries=3, out=tmp_path / "run")
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert "depth_tries" not in config
    assert config["depth"] == "depth.png"


@pytest.mark.parametrize("tries", ["0", "65"])
def test_the_number_of_tries_has_bounds(tries: str, tmp_path, capsys) -> None:
    LAYOUT.save(tmp_path / "layout.yaml")
    with pytest.raises(SystemExit, match="2"):
        main(["render", str(tmp_path / "layout.yaml"), "--depth-tries", tries])
    assert "--depth-tries" in capsys.readouterr().err
