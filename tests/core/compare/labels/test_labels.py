from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import pytest
from PIL import Image

from threedis_core.compare.labels.agreement import Agreement, Verdict, detectors_agreement
from threedis_core.compare.labels.reading import people_agreement, read_labels
from threedis_core.compare.labels.sample import choose_instances, label_page
from threedis_core.compare.scoring.batches import StoredPicture, detect_batch
from threedis_core.errors import OptionError
from threedis_core.testing import FakeDetector

METRIC = "fake-metric"


def metric_of(comparison) -> Any:
    return comparison.judges.metric(METRIC, {})


def test_agreement_and_kappa_by_hand() -> None:
    said = [(True, True)] * 4 + [(True, False)] + [(False, True)] * 2 + [(False, False)] * 3
    found = Agreement.of([Verdict(a, b, str(n)) for n, (a, b) in enumerate(said)])
    assert (found.both, found.first_only, found.second_only, found.neither) == (4, 1, 2, 3)
    assert found.share.value == 0.7
    # Chance: (5 * 6 + 5 * 4) / 100 = 0.5.
    assert found.kappa == pytest.approx((0.7 - 0.5) / 0.5)
    assert Agreement.of([Verdict(True, True, "a")]).kappa is None
    assert Agreement.of([]).kappa is None


def test_instances_are_drawn_of_every_system_and_verdict(comparison) -> None:
    chosen = choose_instances(comparison.folder, comparison.plan, METRIC, metric_of(comparison), 20)
    assert len(chosen) == len({(one.job.key, one.instance) for one in chosen}) == 20
    groups: dict[tuple[str, bool], int] = {}
    for one in chosen:
        content = comparison.folder.score(METRIC, one.job.key).read_bytes()
        group = one.job.system, json.loads(content)["instances"][one.instance]["there"]
        groups[group] = groups.get(group, 0) + 1
    assert set(groups.values()) == {4}  # base is always right: five groups
    again = choose_instances(comparison.folder, comparison.plan, METRIC, metric_of(comparison), 20)
    assert again == chosen
    every = choose_instances(comparison.folder, comparison.plan, METRIC, metric_of(comparison), 999)
    assert len(every) == 3 * 2 * (2 + 3 + 4) * 2


def test_the_page_has_the_pictures_and_escapes_what_is_hostile(comparison) -> None:
    hostile = "a red </script><script>alert(1)</script> & \u2028"
    comparison.plan.layouts[0].layout.instances[0].__dict__["prompt"] = hostile
    chosen = choose_instances(
        comparison.folder, comparison.plan, METRIC, metric_of(comparison), 999
    )
    page = label_page(comparison.folder, comparison.plan, chosen).decode()
    assert page.count("</script>") == 2
    data = re.search(r'type="application/json">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    items = json.loads(data[1])["items"]
    assert len(items) == len(chosen)
    assert hostile in {item["prompt"] for item in items}
    assert all(item.keys() == {"job", "instance", "prompt", "picture"} for item in items)
    raw = base64.b64decode(items[0]["picture"].partition(",")[2])
    assert Image.open(io.BytesIO(raw)).size == (384, 384)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def labels_file(path, rows) -> Any:
    path.write_text(json.dumps({"format": 1, "labels": rows}))
    return path


def test_labels_come_back_as_agreement(comparison, tmp_path) -> None:
    chosen = choose_instances(comparison.folder, comparison.plan, METRIC, metric_of(comparison), 30)
    rows = []
    for number, one in enumerate(chosen):
        content = json.loads(comparison.folder.score(METRIC, one.job.key).read_bytes())
        right = content["instances"][one.instance]["there"] != (number < 5)  # five times otherwise
        label = "unsure" if number == 29 else "yes" if right else "no"
        rows.append({"job": one.job.key, "instance": one.instance, "label": label})
    labels = read_labels(labels_file(tmp_path / "labels.json", rows))
    found = people_agreement(
        comparison.folder, comparison.plan, METRIC, metric_of(comparison), labels
    )
    assert found.instances == 29
    assert found.share.value == pytest.approx(24 / 29)
    assert found.first_only + found.second_only == 5


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"job": "x", "instance": 0, "label": "maybe"}], "labels.0.label"),
        ([{"job": "x", "instance": -1, "label": "yes"}], "labels.0.instance"),
        ([{"job": "x", "label": "yes"}], "labels.0.instance"),
    ],
)
def test_a_file_that_holds_no_labels_is_refused(tmp_path, rows, told) -> None:
    with pytest.raises(OptionError, match=told):
        read_labels(labels_file(tmp_path / "labels.json", rows))


def test_labels_of_another_comparison_are_refused(comparison, tmp_path) -> None:
    rows = [{"job": "elsewhere", "instance": 0, "label": "yes"}]
    labels = read_labels(labels_file(tmp_path / "labels.json", rows))
    with pytest.raises(OptionError, match="of another comparison"):
        people_agreement(comparison.folder, comparison.plan, METRIC, metric_of(comparison), labels)


def test_a_second_detector_is_asked_without_a_model(comparison) -> None:
    arguments = comparison.folder, comparison.plan, METRIC
    with pytest.raises(OptionError, match="no picture was judged with 'second'"):
        detectors_agreement(*arguments, "second", comparison.judges)
    with pytest.raises(OptionError, match="name another detector"):
        detectors_agreement(*arguments, "fake-detector", comparison.judges)
    blind = FakeDetector(FakeDetector.Options())
    for job in comparison.plan.jobs:
        layout = comparison.plan.layouts_by_id[job.layout].layout
        black = io.BytesIO()
        Image.new("RGB", (64, 64)).save(black, "PNG")
        image = black.getvalue() if job.seed else comparison.folder.picture(job.key).read_bytes()
        content = detect_batch("second", blind, [StoredPicture(job.key, layout, image)])[0]
        comparison.write(comparison.folder.detection("second", job.key), content)
    found = detectors_agreement(*arguments, "second", comparison.judges)
    assert set(found) == {"base", "other", "third"}
    # The second judge sees nothing with seed 1.
    base = found["base"]
    assert (base.both, base.first_only, base.second_only, base.neither) == (18, 18, 0, 0)
    assert base.share.value == 0.5
    assert found["other"].share.value == pytest.approx(1 - 6 / 36)
