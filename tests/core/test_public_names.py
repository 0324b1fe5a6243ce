from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import threedis_core
import threedis_core.testing

PUBLIC = """
    BackendOptions Benchmark Box Cancelled Capabilities Choice ControlSchedule DataError
    DeadlineExceeded DepthError DepthEstimator Engine Job JobProgress KeptModel Preview Previews
    DepthMap DepthModel DepthRequest InputError Inspection Instance Layout LayoutError
    MemoryNeed ModelPart NeededFile OptionError PluginError PluginRegistry PluginSource Progress
    RegionRefiner Regions RenderBackend RenderError RenderRequest RenderResult Run RunConfig
    RunImage StepRange ThreeDISError UnknownPluginError WeightsError __version__ check_request
    draw_layout hookimpl load_plugins read_coco read_coco_mig read_layout render render_config
    silent DetectRequest Figure FoundBox FoundMask InstanceDetector InstanceFinding Metric
    InstanceLoRA MetricOptions PictureScore ScoreRequest
"""
TESTING = """
    DepthModelConformance DetectorConformance FakeDepthModel FakeDetector FakeMetric FakeRenderer
    MetricConformance RendererConformance sample_depth sample_layout sample_request
"""


@pytest.mark.parametrize(
    ("package", "names"), [(threedis_core, PUBLIC), (threedis_core.testing, TESTING)]
)
def test_the_public_names_are_these_and_all_of_them_work(package, names) -> None:
    assert sorted(package.__all__) == sorted(names.split())
    for name in names.split():
        assert getattr(package, name) is not None


@pytest.mark.parametrize("package", [threedis_core, threedis_core.testing])
def test_the_public_names_are_listed_before_they_are_used(package) -> None:
    code = f"import {package.__name__} as it; print(sorted(set(it.__all__) - set(dir(it))))"
    listed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert listed.stdout == "[]\n"


@pytest.mark.parametrize("package", [threedis_core, threedis_core.testing])
def test_a_name_that_is_not_there_is_an_attribute_error(package) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(package, "nonsense")  # noqa: B009


def test_the_version_is_the_one_of_the_distribution() -> None:
    document = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert threedis_core.__version__ == document["project"]["version"]
