"""Whatever a backend returns, what is not right is said in one line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threedis_core.errors import RenderError
from threedis_core.plugin.interfaces import Capabilities, RenderResult
from threedis_core.plugin.result_checks import (
    checked_capabilities,
    checked_depth,
    checked_regions,
    checked_results,
)
from threedis_core.testing import sample_depth, sample_layout, sample_request
from threedis_core.values.depth import DepthMap
from threedis_core.values.regions import Regions

REQUEST = sample_request(2)
PICTURE = Image.new("RGB", (64, 64))
LAYOUT = sample_layout(2)


def cycle() -> dict[str, Any]:
    facts: dict[str, Any] = {}
    facts["again"] = facts
    return facts


def nest(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def test_right_results_pass_and_their_warnings_become_a_tuple() -> None:
    result = RenderResult(PICTURE, {"steps": 3}, ["one"])  # type: ignore[arg-type]
    (checked,) = checked_results((result,), [REQUEST])
    assert checked.image is PICTURE
    assert (checked.provenance, checked.warnings) == ({"steps": 3}, ("one",))


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (None, "it returned None; expected a list of RenderResult"),
        ((_ for _ in ()), "a value of type generator; expected a list"),
        ([], "0 results for 1 requests"),
        ([PICTURE], "a value of type Image in its list; expected RenderResult"),
        ([RenderResult(None)], "None as a picture; expected a PIL image"),  # type: ignore[arg-type]
        ([RenderResult(np.zeros((64, 64, 3)))], "type ndarray as a picture"),  # type: ignore[arg-type]
        ([RenderResult(PICTURE.resize((3, 5)))], "a picture of 3 x 5; expected 64 x 64"),
        ([RenderResult(PICTURE.convert("RGBA"))], "mode RGBA; expected RGB"),
    ],
)
def test_results_that_are_no_pictures_are_refused(results, message) -> None:
    with pytest.raises(RenderError, match=message):
        checked_results(results, [REQUEST])


@pytest.mark.parametrize(
    ("provenance", "message"),
    [
        (None, "None as provenance; expected a mapping"),
        ([("a", 1)], "type list as provenance"),
        ({"a": {1, 2}}, "cannot be written as JSON: .*set"),
        ({"a": b"x"}, "cannot be written as JSON: .*bytes"),
        ({("a",): 1}, "cannot be written as JSON: .*tuple"),
        ({"a": math.nan}, "cannot be written as JSON"),
        ({"a": math.inf}, "cannot be written as JSON"),
        (cycle(), "cannot be written as JSON"),
        ({"a": nest(100_000)}, "cannot be written as JSON"),
        ({"a": 10**5000}, "cannot be written as JSON"),
        ({"a": "x" * 2**21}, "2097161 characters of JSON; expected at most 1048576"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_provenance_that_is_no_json_is_refused(provenance, message) -> None:
    with pytest.raises(RenderError, match=message):
        checked_results([RenderResult(PICTURE, provenance)], [REQUEST])


@pytest.mark.parametrize(
    ("warnings", "message"),
    [
        (None, "None as warnings; expected a tuple of texts"),
        ("one warning", "type str as warnings"),
        (("one", 2), "type int among its warnings"),
    ],
)
def test_warnings_that_are_no_texts_are_refused(warnings, message) -> None:
    with pytest.raises(RenderError, match=message):
        checked_results([RenderResult(PICTURE, {}, warnings)], [REQUEST])


def test_right_depth_maps_pass_for_requests_and_for_pictures() -> None:
    depth = sample_depth(LAYOUT, 64, 64)
    assert checked_depth([depth], [REQUEST]) == [depth]
    assert checked_depth((depth,), [PICTURE]) == [depth]


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (None, "it returned None; expected a list of DepthMap"),
        (DepthMap(np.zeros((64, 64), np.float32)), "type DepthMap; expected a list of DepthMap"),
        ([], "0 results for 1 requests"),
        ([np.zeros((64, 64))], "type ndarray in its list; expected DepthMap"),
        ([DepthMap(np.zeros((3, 5), np.float32))], "a depth map of 5 x 3; expected 64 x 64"),
    ],
)
def test_depth_that_is_no_map_of_its_size_is_refused(maps, message) -> None:
    with pytest.raises(RenderError, match=message):
        checked_depth(maps, [REQUEST])


def test_regions_must_be_regions_one_per_instance() -> None:
    regions = Regions.from_layout(LAYOUT, 64, 64)
    assert checked_regions(regions, LAYOUT) is regions
    with pytest.raises(RenderError, match="it returned None; expected Regions"):
        checked_regions(None, LAYOUT)
    with pytest.raises(RenderError, match="2 regions for 3 instances"):
        checked_regions(regions, sample_layout(3))


@pytest.mark.parametrize(
    "said",
    [
        {"max_size": 512},
        {"max_size": (512, 0)},
        {"sizes": None},
        {"sizes": ((512, 512), 7)},
        {"sizes": ((64, 64),)},
        {"min_steps": 0},
        {"min_steps": 1, "default_steps": "x"},
        {"default_guidance": None},
    ],
    ids=str,
)
def test_capabilities_that_contradict_themselves_are_said(said: dict[str, Any]) -> None:
    with pytest.raises(RenderError, match=list(said)[-1]):
        checked_capabilities(Capabilities(**said))


@pytest.mark.parametrize("most", ["x", -1, 2.5])
def test_a_limit_of_instances_that_is_no_number_is_said(most: object) -> None:
    with pytest.raises(RenderError, match="max_instances"):
        checked_capabilities(Capabilities(max_instances=most))  # type: ignore[arg-type]
