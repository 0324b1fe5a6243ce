"""What a plan freezes: keys, batches, blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from threedis_core.compare import Comparison
from threedis_core.errors import OptionError


def keys(made: Comparison) -> list[str]:
    return [job.key for job in made.plan.jobs]


@pytest.fixture
def planned(comparing) -> Callable[..., Comparison]:
    """A comparison of which nothing is done, in a folder of its own each time."""
    numbers = iter(range(100))

    def plan(count: int = 3, **settings) -> Comparison:
        out = comparing.folder / f"plan-{next(numbers)}"
        return comparing(count, stages=(), out=out, **settings)

    return plan


def test_layouts_that_are_alike_have_jobs_and_depth_maps_of_their_own(planned, comparing) -> None:
    (file,) = comparing.layouts("alike")
    made = planned(layouts=[file, file, file], batch_size=1)
    assert [one.id for one in made.plan.layouts] == ["layout-0", "layout-0-2", "layout-0-3"]
    assert len(set(keys(made))) == 6
    assert len({depth.key for depth in made.plan.depths}) == 3


def test_a_key_depends_on_what_decides_pixels_and_not_on_the_folder(planned) -> None:
    before = keys(planned())
    assert keys(planned()) == before
    for changed in (
        {"renderers": {"counting": {"tint": 0.4}}},
        {"renderers": {"counting": {"control": "off"}}},
        {"renderers": {"counting": {"region_refiner": "depth-edges"}}},
        {"depth_seeds": [1]},
        {"steps": 2},
        {"threads": 2},
        {"batch_size": 3},
        {"negative_prompt": "blur"},
        {"width": 128, "height": 64},
    ):
        assert not set(keys(planned(**changed))) & set(before), changed


def test_more_systems_and_metrics_change_no_key(planned) -> None:
    before = keys(planned())
    assert set(before) < set(keys(planned(renderers=["counting", "counting@b"])))


def test_batches_are_full_and_never_cross_systems_or_blocks(planned) -> None:
    made = planned(5, renderers=["counting", "counting@b"], seeds=[0, 1, 2], batch_size=4)
    by_batch: dict[int | None, list] = {}
    for job in made.plan.jobs:
        by_batch.setdefault(job.batch, []).append(job)
    blocks = {one.id: one.block for one in made.plan.layouts}
    assert [one.block for one in made.plan.layouts] == [0, 0, 0, 0, 1]
    for jobs in by_batch.values():
        assert len({job.system for job in jobs}) == 1
        assert len({blocks[job.layout] for job in jobs}) == 1
    assert sorted(len(jobs) for jobs in by_batch.values()) == [3, 3, 4, 4, 4, 4, 4, 4]


def test_several_depth_models_make_systems_of_each(planned) -> None:
    made = planned(2, depth_models=["counted-depth", "fake-depth"])
    names = ["counted-depth/counting", "fake-depth/counting"]
    assert [one.name for one in made.plan.systems] == names
    assert Counter(job.system for job in made.plan.jobs) == {name: 4 for name in names}
    assert len(made.plan.depths) == 4


def test_a_coco_mig_file_gives_levels(planned, comparing) -> None:
    file = comparing.folder / "mig.yaml"
    file.write_text(
        "a red cube and a blue ball:\n  coco_id: 7\n  a red cube: [[0.1, 0.1, 0.5, 0.5]]\n"
        "  a blue ball: [[0.5, 0.5, 0.9, 0.9]]\n"
        "broken:\n  coco_id: 8\n  a red cube: nowhere\n"
        "a red cube:\n  coco_id: 7\n  a red cube: [[0.1, 0.1, 0.5, 0.5]]\n"
    )
    made = planned(layouts=str(file))
    told = [(one.id, one.level, bool(one.error)) for one in made.plan.layouts]
    assert told == [("7", 2, False), ("mig-0001", None, True), ("7-2", 1, False)]
    assert [job.refused != "" for job in made.plan.jobs] == [False, False, True, True, False, False]


def test_pictures_of_a_coco_file_are_layouts(planned, comparing) -> None:
    file = comparing.folder / "coco.json"
    file.write_text(
        '{"images": [{"id": 1, "width": 64, "height": 64}, {"id": 2, "width": 64, "height": 64}, '
        '{"id": 3, "width": 64, "height": 64}], "categories": [{"id": 1, "name": "dog"}], '
        '"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 30, 30]}, '
        '{"id": 2, "image_id": 3, "category_id": 1, "bbox": [1, 1, 30, 30]}]}'
    )
    assert [one.id for one in planned(layouts=str(file)).plan.layouts] == ["1", "3"]
    chosen = {"file": str(file), "images": [3]}
    assert [one.id for one in planned(layouts=chosen).plan.layouts] == ["3"]
    with pytest.raises(OptionError, match="name either a file or a benchmark"):
        planned(layouts={"limit": 3})


def test_a_primary_figure_and_a_baseline_are_frozen(comparing) -> None:
    systems = ["counting", "counting@b"]
    metrics = {"fake-metric": {"detector": "fake-detector"}}
    made = comparing(2, renderers=systems, metrics=metrics)
    assert made.complete
    assert (made.plan.baseline, made.plan.primary) == ("counting", "fake-metric.there")
    with pytest.raises(OptionError, match="baseline was"):
        comparing(2, renderers=systems, metrics=metrics, baseline="counting@b")
    with pytest.raises(OptionError, match="keep its metric"):
        comparing(2, renderers=systems)
    before = comparing.rendered
    detectors = {"fake-detector": {"shift": 0.1}}
    again = comparing(2, renderers=systems, metrics=metrics, detectors=detectors)
    assert again.complete
    assert comparing.rendered == before, "a changed judge renders nothing"
    assert len(comparing.events("done")) == 2 + 8 + 8 + 8 + 8 + 8
