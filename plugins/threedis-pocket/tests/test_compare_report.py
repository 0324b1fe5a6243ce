"""The page of a real comparison, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from threedis_core.compare import compare

CHROMIUM = Path("/usr/bin/chromium")


def test_a_real_comparison_is_a_page_with_its_figures_and_its_pictures(tmp_path: Path) -> None:
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt-get install chromium")
    made = compare(
        layouts={"benchmark": "pocket-test", "limit": 2},
        depth_models=["pocket-scene"],
        renderers={"pocket-sd15@off": {"control": "off"}, "pocket-sd15": {}},
        steps=3,
        metrics=["pocket"],
        out=tmp_path / "out",
    )
    assert made.complete
    figures = json.loads((made.folder / "summary.json").read_text())["figures"]
    headline = [f for f in figures if f["stratum"] is None and f["complete"]]
    primary = {f["system"]: f["value"] for f in headline if not f["exploratory"]}
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((made.folder / "report.html").as_uri())
        for row in page.locator("#table-complete tbody tr").all():
            name = row.locator("th bdi").text_content()
            shown = row.locator("td").first.locator("b").text_content()
            assert shown == f"{100 * primary[name]:.1f}"
        page.locator("#row-0").scroll_into_view_if_needed()
        boxes = len(made.plan.layouts[0].layout.instances)
        asked = page.locator("#row-0 .shot .box:not(.seen)")
        asked.first.wait_for()
        assert asked.count() == 2 * boxes
        assert page.locator("#row-0 .box.unjudged").count() == 0
        page.locator("#row-0 .shot button").nth(1).click()
        full = page.locator("#viewer .shot img").nth(1)
        page.wait_for_function("i => i.src.endsWith('.png')", arg=full.element_handle())
        key = next(job.key for job in made.plan.jobs if job.system == "pocket-sd15")
        assert full.evaluate("image => image.src").endswith(f"/pictures/{key}.png")
        browser.close()
