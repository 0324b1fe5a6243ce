"""The page of labels in a real browser, from disk."""

from __future__ import annotations

from typing import Any

from threedis_core.compare.labels.reading import people_agreement, read_labels
from threedis_core.compare.labels.sample import choose_instances, label_page


def test_a_person_labels_by_keys_and_saves_a_file_that_is_read(
    comparison, chromium, tmp_path
) -> None:
    metric = comparison.judges.metric("fake-metric", {})
    chosen = choose_instances(comparison.folder, comparison.plan, "fake-metric", metric, 6)
    file = tmp_path / "labels.html"
    file.write_bytes(label_page(comparison.folder, comparison.plan, chosen))
    said: list[Any] = []
    asked: list[str] = []
    page = chromium.new_page(accept_downloads=True)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(error))
    page.on("request", lambda one: asked.append(one.url))
    page.goto(file.as_uri())
    assert page.locator("#picture").evaluate("one => one.naturalWidth") == 384
    for key in ("y", "n", "u", "y", "ArrowLeft", "n"):
        page.keyboard.press(key)
    page.reload()  # labels stay
    assert page.locator("#told").inner_text() == "4 of 6 labelled"
    page.get_by_role("button", name="Yes (y)").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save labels.json").click()
    download.value.save_as(tmp_path / "labels.json")
    page.close()
    assert said == []
    assert not [url for url in asked if url.startswith(("http:", "https:", "ws"))]
    labels = read_labels(tmp_path / "labels.json")
    assert [one.label for one in labels] == ["yes", "no", "unsure", "no", "yes"]
    assert [(one.job, one.instance) for one in labels] == [
        (one.job.key, one.instance) for one in chosen[:5]
    ]
    found = people_agreement(comparison.folder, comparison.plan, "fake-metric", metric, labels)
    assert found.instances == 4
